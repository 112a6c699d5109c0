# Opens a TLS connection with Python's asyncio streams.
import asyncio
import ssl
import sys


async def main(host: str) -> None:
    reader, writer = await asyncio.open_connection(host, 443, ssl=ssl.create_default_context())
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()
    await writer.wait_closed()


asyncio.run(main(sys.argv[1]))
