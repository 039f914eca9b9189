"""What a process gives up before it runs a student's code: namespaces, rights, calls, memory.

It stands already inside bubblewrap, which hides the disk and the network. Here one submission is
kept apart from the next: a list of processes, a /tmp and a /proc of its own, no new process, no
socket, no other program. Linux alone has these.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct

MB = 2**20
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_THREAD = 0x20000000, 0x00010000
MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 0x4000, 0x40000, 2, 4
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_DUMPABLE, PR_SET_PDEATHSIG = 38, 22, 4, 1
EPERM, ENOSYS = 1, 38

# The system calls that are refused, by their numbers: new processes and programs, sockets, other
# processes' memory, mounts and namespaces, keys, tracing, the kernel itself.
REFUSED = {
    "x86_64": (
        0xC000003E, 56, 435,
        (57, 58, 59, 322, 41, 53, 101, 310, 311, 62, 200, 234, 424, 165, 166, 272, 308, 161, 155,
         248, 249, 250, 298, 321, 323, 425, 426, 427, 428, 429, 430, 432, 442, 29, 30, 31, 68, 69,
         240, 319, 172, 173, 246, 320, 175, 176, 313, 167, 168, 169),
    ),
    "aarch64": (
        0xC00000B7, 220, 435,
        (221, 281, 198, 199, 117, 270, 271, 129, 130, 131, 424, 40, 39, 97, 268, 51, 41, 217, 218,
         219, 241, 280, 282, 425, 426, 427, 428, 429, 430, 432, 442, 194, 195, 196, 186, 187, 180,
         279, 104, 294, 105, 106, 273, 224, 225, 142),
    ),
}  # fmt: skip


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _must(status: int, what: str) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), what)


def apart() -> None:
    """Namespaces of its own for this process and its children. Errors: OSError where not allowed.

    The next child is process 1 of a list of its own: when it ends, all that it began ends.
    """
    libc, uid, gid = _libc(), os.geteuid(), os.getegid()
    _must(
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC),
        "unshare",
    )
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"),
                       ("gid_map", f"1000 {gid} 1")):  # fmt: skip
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    _must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    for place, size in ((b"/dev/shm", b"size=16m"), (b"/tmp", b"size=16m,nr_inodes=2k"),
                        (b"/proc", b"size=4k,mode=555")):  # fmt: skip
        flags = MS_NOSUID | MS_NODEV
        _must(libc.mount(b"tmpfs", place, b"tmpfs", flags, size), f"mount {place.decode()}")
    os.chdir("/tmp")


def size() -> int:
    """Bytes of address space that this process has; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def limits(memory: int, seconds: int, file_size: int) -> None:
    """Limits of this process: bytes of memory, seconds of a processor, bytes of a file."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_STACK, 64 * MB),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        allowed = resource.getrlimit(what)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (most, most))


def refuse() -> bool:
    """Give up all rights, and the calls of REFUSED for good; False where the machine is unknown."""
    libc = _libc()
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    libc.capset(header, b"\0" * 24)
    _must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    known = REFUSED.get(platform.machine())
    if known is None:
        return False
    program = ctypes.create_string_buffer(_filter(*known))
    count = (len(program) - 1) // 8
    where = struct.pack("HxxxxxxP", count, ctypes.addressof(program))
    _must(libc.prctl(PR_SET_SECCOMP, 2, where, 0, 0), "seccomp")
    return True


def _filter(arch: int, clone: int, clone3: int, refused: tuple[int, ...]) -> bytes:
    """The filter as the kernel reads it: (code, jump if true, jump if false, number) a step.

    A new thread is a clone with CLONE_THREAD; clone3 hides its flags, so it is said not to exist,
    and libraries fall back to clone.
    """
    load, equal, test, answer = 0x20, 0x15, 0x45, 0x06
    kill, allow, error = 0x80000000, 0x7FFF0000, 0x00050000

    def step(code: int, yes: int, no: int, number: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, number)

    steps = [
        step(load, 0, 0, 4), step(equal, 1, 0, arch), step(answer, 0, 0, kill),
        step(load, 0, 0, 0),
        # x86_64 has a second set of numbers, from 2**30 on: none of them is needed.
        step(0x35, 0, 1, 0x40000000), step(answer, 0, 0, error | EPERM),
        step(equal, 0, 1, clone3), step(answer, 0, 0, error | ENOSYS),
    ]  # fmt: skip
    for number in refused:
        steps += [step(equal, 0, 1, number), step(answer, 0, 0, error | EPERM)]
    steps += [
        step(equal, 0, 3, clone), step(load, 0, 0, 16),
        step(test, 1, 0, CLONE_THREAD), step(answer, 0, 0, error | EPERM),
        step(answer, 0, 0, allow),
    ]  # fmt: skip
    return b"".join(steps)
