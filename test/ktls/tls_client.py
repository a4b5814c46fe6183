"""A TLS client whose every step is told, for what no other client can be told: which bytes share a record, which records share a
segment, and how the connection ends. Steps come as JSON in the third argument; what happened goes to standard output as JSON, what was
received in base64: characters that are not ASCII take JSON six bytes, and a guest seconds."""
import base64
import json
import socket
import ssl
import struct
import sys
import time

port, version, steps = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}[version]

received = bytearray()
ended = None


def send():
    data = outgoing.read()
    if data:
        connection.sendall(data)


def read_more():
    """Takes what comes next, or notes how the connection ended."""
    global ended
    try:
        data = tls.read(1 << 20)
        if not data:
            ended = "close_notify"
        received.extend(data)
        return
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLZeroReturnError:
        ended = "close_notify"
        return
    except ssl.SSLEOFError:
        ended = "end without close_notify"
        return
    try:
        data = connection.recv(1 << 20)
    except ConnectionResetError:
        ended = "reset"
        return
    if data:
        incoming.write(data)
    else:
        incoming.write_eof()


def connect(session=None):
    """Ends with the last flight of the handshake written and not sent: a step sends it, alone or with more."""
    global connection, incoming, outgoing, tls
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="example.test", session=session)
    while True:
        try:
            tls.do_handshake()
            return
        except ssl.SSLWantReadError:
            send()
            incoming.write(connection.recv(1 << 16))


def connect_resuming():
    """With the session of a connection before."""
    connect()
    send()
    if version == "TLSv1.3":
        await_ticket()
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            pass
    session = tls.session
    connection.close()
    connect(session)
    assert tls.session_reused


def send_but(count):
    """All but the last bytes of what was written."""
    data = outgoing.read()
    connection.sendall(data[:-count])
    outgoing.write(data[-count:])


def damaged(records):
    """The same with another bit in the ciphertext of the first record."""
    return records[:16] + bytes([records[16] ^ 1]) + records[17:]


def read_damaged():
    """Takes what comes next with a bit that is wrong: a fatal alert is this client's answer, for `send` to send."""
    incoming.write(damaged(connection.recv(1 << 20)))
    try:
        tls.read(1 << 20)
    except ssl.SSLError:
        pass


def await_fin():
    """After an error of its own a TLS reads no more: only that the stream ends can be seen."""
    global ended
    try:
        while connection.recv(1 << 20):
            pass
        ended = "end without close_notify"
    except ConnectionResetError:
        ended = "reset"


def close_notify():
    try:
        tls.unwrap()
    except (ssl.SSLWantReadError, ssl.SSLError):
        pass  # It waits for the other side's, or has seen data: ours is written in both cases.


def await_ticket():
    """TLS 1.3: the server's first words after the handshake say that it is done with it."""
    if incoming.pending == 0:
        incoming.write(connection.recv(1 << 16))


def read_until(text, count=1):
    while received.count(text.encode("latin1")) < count and ended is None:
        read_more()


def read_to_end():
    while ended is None:
        read_more()


def reset():
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


ACTIONS = {
    "write": lambda text: tls.write(text.encode("latin1")),
    "write_times": lambda text, times: tls.write(text.encode("latin1") * times),
    "send": send,
    "send_but": send_but,
    "send_plain": lambda text: connection.sendall(text.encode("latin1")),
    "send_damaged": lambda: connection.sendall(damaged(outgoing.read())),
    "read_damaged": read_damaged,
    "await_fin": await_fin,
    "await_ticket": await_ticket,
    "read_until": read_until,
    "read_to_end": read_to_end,
    "close_notify": close_notify,
    "fin": lambda: connection.shutdown(socket.SHUT_WR),
    "close": lambda: connection.close(),
    "reset": reset,
    "wait": time.sleep,
    "await_word": sys.stdin.readline,
}

if steps[0][0] == "resume":
    connect_resuming()
    steps.pop(0)
elif steps[0][0] == "with_handshake":
    connect()
    steps.pop(0)
else:
    connect()
    send()
for name, *arguments in steps:
    ACTIONS[name](*arguments)
print(json.dumps({"received": base64.b64encode(received).decode(), "ended": ended, "cipher": tls.cipher()[0]}))
