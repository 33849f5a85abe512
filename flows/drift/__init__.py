"""The watch over incoming data: has it drifted from what the champion was trained on?"""
