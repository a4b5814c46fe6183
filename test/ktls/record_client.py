"""A TLS client that sends records of any type, which no TLS library lets its caller do: its kernel encrypts, and is told the type.
It asks once, sends the records that come as JSON in the third argument ([type, hexadecimal bytes]) and tells what happened as JSON."""
import json
import os
import socket
import ssl
import sys

port, version, records = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
GET = b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"
# ssl.OP_ENABLE_KTLS of Python 3.12.
OP_ENABLE_KTLS = 1 << 3
# linux/tls.h.
SOL_TLS, TLS_SET_RECORD_TYPE = 282, 1

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.options |= OP_ENABLE_KTLS
context.minimum_version = context.maximum_version = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}[version]
tls = context.wrap_socket(
    socket.create_connection(("127.0.0.1", port), timeout=60),
    server_hostname="example.test",
    suppress_ragged_eofs=False,
)
# Python lets nobody send a control message on a socket that it knows to be one of TLS.
plain = socket.socket(fileno=os.dup(tls.fileno()))

received, ended = b"", None
tls.sendall(GET)
while not received.endswith(b"}"):
    received += tls.recv(1 << 16)
for type, data in records:
    plain.sendmsg([bytes.fromhex(data)], [(SOL_TLS, TLS_SET_RECORD_TYPE, bytes([type]))])
while ended is None:
    try:
        data = tls.recv(1 << 16)
        received += data
        if not data:
            ended = "close_notify"
    except ssl.SSLEOFError:
        ended = "end without close_notify"
    except ConnectionResetError:
        ended = "reset"
print(json.dumps({"received": received.decode("latin1"), "ended": ended}))
