"""A web server gone wrong: its client's connection is one on which the kernel decrypts, and encrypts nothing. Hands it over, as the public
module would, to the path in the first argument, and prints as JSON how many bytes its client got."""
import array
import json
import socket
import struct
import sys

# linux/tcp.h, linux/tls.h: TLS 1.2, AES-128-GCM; initialization vector, key, salt and record sequence are of no account.
TCP_ULP, SOL_TLS, TLS_RX = 31, 282, 2
KEYS = struct.pack("=HH", 0x0303, 51) + bytes(8 + 16 + 4 + 8)

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname(), timeout=60)
accepted, _ = listener.accept()
accepted.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
accepted.setsockopt(SOL_TLS, TLS_RX, KEYS)

headers = {"CONTENT_LENGTH": "0", "SCGI": "1+fd_pass", "REQUEST_METHOD": "GET", "REQUEST_URI": "/", "HTTP_HOST": "example.test"}
block = "".join(f"{name}\0{value}\0" for name, value in headers.items())
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [accepted.fileno()]))
connection.sendmsg([f"{len(block)}:{block},".encode()], [rights])
accepted.close()

received = 0
while data := client.recv(1 << 16):
    received += len(data)
print(json.dumps({"received": received}))
