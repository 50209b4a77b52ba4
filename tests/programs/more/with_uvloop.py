# SPDX-License-Identifier: MIT
"""asyncio on uvloop: libuv's memory, its signal handlers, subprocesses, threads, a server and its clients."""
import asyncio
import signal
import sys

import uvloop
from hold import hold

kept = []


async def answer(reader, writer):
    number = int(await reader.readline())
    kept.append(bytearray(20000))  # @kept
    writer.write(b"%d\n" % (number * number))
    await writer.drain()
    writer.close()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d\n" % number)
    said = int(await reader.readline())
    writer.close()
    return said


async def main():
    loop = asyncio.get_running_loop()
    hung_up = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(type(loop).__module__, sum(await asyncio.gather(*[ask(port, number) for number in range(200)])))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", "import os, signal; os.kill(os.getppid(), signal.SIGHUP); print('child')",
        stdout=asyncio.subprocess.PIPE)
    print(await child.communicate(), child.returncode)
    await hung_up.wait()
    print(await loop.run_in_executor(None, sum, range(1000)))
    server.close()
    await server.wait_closed()

uvloop.run(main())
hold(200 * 20000, 200 * 20100)
