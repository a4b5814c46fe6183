"""Runs a command in which one system call fails with one errno: what only other kernels, or hardware, would answer.
Usage: failing_system_call.py <name> <errno> <command> [argument]... Exit code 77 if the machine cannot do it."""
import ctypes
import os
import platform
import struct
import sys

# linux/audit.h and the kernel's tables of system calls.
MACHINES = {"x86_64": (0xC000003E, {"recvmsg": 47}), "aarch64": (0xC00000B7, {"recvmsg": 212})}
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
BPF_LD_W_ABS, BPF_JMP_JEQ_K, BPF_RET_K = 0x20, 0x15, 0x06

name, errno, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
if platform.machine() not in MACHINES:
    sys.exit(77)
architecture, numbers = MACHINES[platform.machine()]
# struct sock_filter: code, jump if true, jump if false, operand. struct seccomp_data: the number at 0, the architecture at 4.
program = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in [
        (BPF_LD_W_ABS, 0, 0, 4),
        (BPF_JMP_JEQ_K, 0, 3, architecture),
        (BPF_LD_W_ABS, 0, 0, 0),
        (BPF_JMP_JEQ_K, 0, 1, numbers[name]),
        (BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno),
        (BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW),
    ]
)
filter = ctypes.create_string_buffer(program, len(program))
sock_fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(filter)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, sock_fprog, 0, 0)]:
    if libc.prctl(*arguments) != 0:
        sys.exit(77)
os.execvp(command[0], command)
