"""The system calls that a sandboxed program is refused, as a filter that bubblewrap loads.

Refused is what would let a program hold memory that no process of its own is charged for (memory files, System V
segments, mounts of its own), reach out of the network namespace (sockets of other families, as those to the host of
a virtual machine), look into its neighbours, or reach parts of the kernel that no task needs.
"""

import errno
import platform
import struct
from collections.abc import Iterator

# Refused with EPERM: the numbers on x86-64 and on AArch64 (asm/unistd_64.h, asm-generic/unistd.h).
_REFUSED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "quotactl": (179, 60), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "swapon": (167, 224), "reboot": (169, 142),
}  # fmt: skip
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_SOCKET = (41, 198)

# AUDIT_ARCH_* of linux/audit.h.
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Flags of clone that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NAMESPACES = 0x7E020000
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}

# linux/filter.h and linux/seccomp.h: load a word, jump if equal, if greater or equal, if bits are set; return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# Offsets in struct seccomp_data.
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16


def machine_supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _MACHINES


def seccomp_filter() -> bytes:
    """The filter for this machine as an array of `struct sock_filter`; see `machine_supported`."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(platform.machine()))


def _instructions(machine: str) -> Iterator[tuple[int, int, int, int]]:
    column = list(_MACHINES).index(machine)
    yield _LOAD, 0, 0, _MACHINE
    # Another machine's calls, such as those of 32 bits, have other numbers.
    yield _EQUAL, 1, 0, _MACHINES[machine]
    yield _refuse(errno.ENOSYS)
    yield _LOAD, 0, 0, _NUMBER
    if machine == "x86_64":  # the calls of the x32 interface
        yield _AT_LEAST, 0, 1, 0x40000000
        yield _refuse(errno.ENOSYS)
    for numbers in _REFUSED.values():
        yield _EQUAL, 0, 1, numbers[column]
        yield _refuse(errno.EPERM)
    # Its flags lie in memory, where a filter cannot look; the C library goes on with clone.
    yield _EQUAL, 0, 1, _CLONE3[column]
    yield _refuse(errno.ENOSYS)
    yield _EQUAL, 0, 4, _CLONE[column]
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    yield _ANY_BIT, 0, 1, _NAMESPACES
    yield _refuse(errno.EPERM)
    yield _RETURN, 0, 0, _ALLOW
    yield _EQUAL, 0, 2 + len(_FAMILIES), _SOCKET[column]
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    for left, family in enumerate(reversed(_FAMILIES.values())):
        yield _EQUAL, len(_FAMILIES) - left, 0, family
    yield _refuse(errno.EAFNOSUPPORT)
    yield _RETURN, 0, 0, _ALLOW


def _refuse(error: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, _ERRNO | error
