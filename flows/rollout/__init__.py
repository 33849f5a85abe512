"""From a registered model to a deployment that answers: the flow that rolls it out, step by step, or back."""
