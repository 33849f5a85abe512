"""Connections to the instances of a deployment that end while they are asked."""

import asyncio
import socket
from pathlib import Path

from flows.serving.local.frames import HELLO, frame, read_frame
from flows.serving.local.instances import Instances


def test_a_request_whose_connection_a_dying_instance_never_took_goes_to_another_one(tmp_path: Path) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        _, body = await read_frame(reader)
        writer.write(frame({"status": 200}, body))
        await writer.drain()
        writer.close()

    async def behaviour() -> None:
        living, dying = tmp_path / "a", tmp_path / "b"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(dying))
            listening.listen()  # the kernel takes connections, and the process never will
            async with await asyncio.start_unix_server(answers, living):
                instances = Instances()
                instances.update([str(living), str(dying)], 1)
                asked = [asyncio.create_task(instances.ask(b"rows", 10, 2)) for _ in range(2)]
                await asyncio.sleep(0.2)
                listening.close()
                assert [await each for each in asked] == [({"status": 200}, b"rows")] * 2
                instances.update([], 1)  # which closes the connections that were kept
                await asyncio.sleep(0)

    asyncio.run(behaviour())
