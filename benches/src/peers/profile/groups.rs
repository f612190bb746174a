//! What a sample of `perf` was taken in: the kernel's parts by the innermost call that says it, our own by the object and the name.

/// Where processor time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Sleeping, waking, and changing from one thread to another.
    Switches,
    /// TCP and the loopback device: the way of the bytes from one socket to the other.
    Tcp,
    /// The kernel's copies from and to the processes.
    Copies,
    /// `epoll`, `futex`, `eventfd`, and io_uring's own work.
    Waiting,
    /// Entering and leaving the kernel.
    Entry,
    /// Page faults, and memory that is given and taken back.
    Memory,
    /// The kernel's other work.
    Kernel,
    /// Copying and comparing of memory in the process.
    Bytes,
    /// The process's own code, its allocator and its runtime included.
    Own,
}

impl Group {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Switches,
        Self::Tcp,
        Self::Copies,
        Self::Waiting,
        Self::Entry,
        Self::Memory,
        Self::Kernel,
        Self::Bytes,
        Self::Own,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Switches => "switches and wake-ups",
            Self::Tcp => "TCP and loopback",
            Self::Copies => "the kernel's copies",
            Self::Waiting => "epoll, futex, io_uring",
            Self::Entry => "into the kernel and out",
            Self::Memory => "page faults, memory",
            Self::Kernel => "the kernel's other work",
            Self::Bytes => "memcpy, memcmp",
            Self::Own => "its own code",
        }
    }

    /// The group of a sample: its calls, innermost first.
    pub fn of(frames: &[Frame<'_>]) -> Self {
        let Some(innermost) = frames.first() else {
            return Self::Kernel;
        };
        if !innermost.kernel {
            return match BYTES.iter().any(|part| innermost.symbol.contains(part)) {
                true => Self::Bytes,
                false => Self::Own,
            };
        }
        let kernel = frames.iter().take_while(|frame| frame.kernel);
        kernel
            .filter_map(|frame| Self::of_call(frame.symbol))
            .next()
            .unwrap_or(Self::Kernel)
    }

    /// What a kernel function is part of; nothing if it is used by all.
    fn of_call(symbol: &str) -> Option<Self> {
        let rule = |(group, names): &(Self, &[&str])| {
            let found = names.iter().any(|name| match name.strip_suffix('*') {
                Some(start) => symbol.starts_with(start),
                None => symbol == *name,
            });
            found.then_some(*group)
        };
        RULES.iter().find_map(rule)
    }
}

/// One call of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The function.
    pub symbol: &'a str,
    /// Whether it is the kernel's.
    pub kernel: bool,
}

impl<'a> Frame<'a> {
    /// Reads a line of `perf script -F ip,sym,dso`: an address, the function, and in brackets where it lies.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.trim().split_once(' ')?;
        let (symbol, object) = rest.rsplit_once(" (").unwrap_or(("[unknown]", rest));
        Some(Self {
            symbol: symbol.trim(),
            kernel: object.starts_with("[kernel") || object.starts_with("[guest.kernel"),
        })
    }
}

const BYTES: &[&str] = &["memmove", "memcpy", "memset", "memcmp", "memchr", "bcmp"];

/// The first that fits counts; a name with a star is the beginning of one.
const RULES: &[(Group, &[&str])] = &[
    (
        Group::Copies,
        &[
            "_copy_*",
            "copy_*",
            "rep_movs*",
            "rep_stos*",
            "__copy_*",
            "simple_copy_*",
            "skb_copy_*",
            "__skb_datagram_iter",
            "memcpy*",
            "copyin",
            "copyout",
            "fault_in_*",
        ],
    ),
    (
        Group::Memory,
        &[
            "asm_exc_page_fault",
            "exc_page_fault",
            "do_user_addr_fault",
            "handle_mm_fault",
            "__handle_mm_fault",
            "do_anonymous_page",
            "clear_page*",
            "clear_*huge*",
            "__x64_sys_mprotect",
            "do_mprotect*",
            "__x64_sys_madvise",
            "do_madvise*",
            "__x64_sys_mmap",
            "__x64_sys_munmap",
            "__x64_sys_brk",
            "__do_sys_brk",
            "mmput",
            "exit_mmap",
            "zap_*",
            "unmap_*",
            "do_exit",
            "mprotect_*",
        ],
    ),
    (
        Group::Switches,
        &[
            "schedule*",
            "__schedule*",
            "try_to_wake_up",
            "ttwu_*",
            "__wake_up*",
            "wake_up_*",
            "autoremove_wake_function",
            "default_wake_function",
            "woken_wake_function",
            "wake_q_*",
            "wake_up_q",
            "finish_task_switch*",
            "pick_next_*",
            "pick_task*",
            "enqueue_*",
            "dequeue_*",
            "update_curr*",
            "__x64_sys_sched_yield",
            "do_sched_yield",
            "yield_*",
            "select_task_rq*",
            "switch_mm*",
            "__switch_to*",
            "sched_*",
            "psi_*",
            "prepare_to_wait*",
            "finish_wait",
            "add_wait_queue",
            "remove_wait_queue",
            "activate_task",
            "check_preempt*",
            "wakeup_preempt*",
            "resched_curr*",
            "native_smp_send_reschedule",
            "__smp_call_single_queue",
            "send_call_function_single_ipi",
            "x2apic_send_IPI*",
            "sysvec_reschedule*",
            "sysvec_call_function_single",
            "flush_smp_call_*",
            "hrtimer_*",
            "wait_woken",
            "ret_from_fork*",
            "sock_def_readable",
            "sk_wait_data",
        ],
    ),
    (
        Group::Waiting,
        &[
            "do_epoll_*",
            "ep_*",
            "__x64_sys_epoll_*",
            "__ep_*",
            "futex_*",
            "__futex_*",
            "do_futex",
            "__x64_sys_futex",
            "eventfd_*",
            "io_*",
            "__io_*",
            "__do_sys_io_uring_enter",
            "__x64_sys_io_uring_enter",
            "do_sys_poll",
            "__x64_sys_poll",
            "__x64_sys_ppoll",
            "__x64_sys_clock_nanosleep",
            "__x64_sys_nanosleep",
        ],
    ),
    (
        Group::Tcp,
        &[
            "tcp_*",
            "__tcp_*",
            "ip_*",
            "__ip_*",
            "ip6_*",
            "inet_*",
            "__inet_*",
            "skb_*",
            "__skb_*",
            "sk_*",
            "__sk_*",
            "sock_*",
            "__sock_*",
            "net_rx_action",
            "__napi_poll*",
            "process_backlog",
            "loopback_*",
            "__netif_*",
            "netif_*",
            "dev_*",
            "__dev_*",
            "eth_*",
            "nf_*",
            "__local_bh_enable_ip",
            "do_softirq*",
            "__do_softirq",
            "handle_softirqs",
            "__sys_sendto",
            "__sys_recvfrom",
            "____sys_*",
            "___sys_*",
            "__sys_sendmsg",
            "__sys_recvmsg",
            "__x64_sys_sendto",
            "__x64_sys_recvfrom",
            "__x64_sys_sendmsg",
            "__x64_sys_recvmsg",
            "sockfd_*",
            "lock_sock*",
            "release_sock",
            "__release_sock",
            "mem_cgroup_*sk*",
            "security_socket_*",
            "consume_skb",
            "kfree_skb*",
            "napi_*",
            "alloc_skb*",
            "__alloc_skb",
            "raw_local_deliver",
            "ipv4_*",
            "neigh_*",
            "rt_*",
            "bpf_skops*",
            "enqueue_to_backlog",
            "rcv_*",
            "validate_xmit_*",
            "ktime_get_real*",
            "qdisc_*",
        ],
    ),
    (
        Group::Entry,
        &[
            "entry_SYSCALL*",
            "do_syscall_64",
            "syscall_*",
            "x64_sys_call",
            "exit_to_user_mode*",
            "clear_bhb*",
            "srso_*",
            "retbleed*",
            "entry_*",
            "common_interrupt_return",
            "irqentry_*",
            "__x64_sys_*",
            "asm_sysvec_*",
            "vfs_read",
            "ksys_read",
            "vfs_write",
            "ksys_write",
            "vfs_writev",
            "do_writev",
            "new_sync_*",
            "fdget*",
            "__fdget*",
            "fput",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_perf_is_a_function_and_where_it_lies() {
        let frame = |line| Frame::parse(line).map(|frame| (frame.symbol, frame.kernel));
        assert_eq!(
            frame("        ffffffff81a3 tcp_sendmsg ([kernel.kallsyms])"),
            Some(("tcp_sendmsg", true))
        );
        assert_eq!(
            frame("  55d0 <alloc::vec::Vec<T> as Drop>::drop (/usr/bin/x (deleted))"),
            Some(("<alloc::vec::Vec<T> as Drop>::drop (/usr/bin/x", false)),
        );
        assert_eq!(frame("nothing"), None);
    }

    #[test]
    fn the_innermost_call_that_says_what_it_is_for_decides() {
        let of = |frames: &[(&'static str, bool)]| {
            let frames: Vec<_> = frames
                .iter()
                .map(|&(symbol, kernel)| Frame { symbol, kernel })
                .collect();
            Group::of(&frames)
        };
        for (frames, group) in [
            // A lock says nothing; the wake-up that takes it does, though TCP has called it.
            (
                &[
                    ("_raw_spin_unlock_irqrestore", true),
                    ("try_to_wake_up", true),
                    ("sock_def_readable", true),
                    ("tcp_data_queue", true),
                    ("__sys_sendto", true),
                ][..],
                Group::Switches,
            ),
            (
                &[
                    ("kmem_cache_alloc", true),
                    ("__alloc_skb", true),
                    ("tcp_sendmsg", true),
                ],
                Group::Tcp,
            ),
            (
                &[
                    ("rep_movs_alternative", true),
                    ("_copy_from_iter", true),
                    ("tcp_sendmsg", true),
                ],
                Group::Copies,
            ),
            (
                &[
                    ("ep_poll_callback", true),
                    ("__wake_up_common", true),
                    ("sock_def_readable", true),
                ],
                Group::Waiting,
            ),
            (
                &[("entry_SYSCALL_64_after_hwframe", true), ("send", false)],
                Group::Entry,
            ),
            (
                &[
                    ("clear_page_erms", true),
                    ("asm_exc_page_fault", true),
                    ("insert", false),
                ],
                Group::Memory,
            ),
            // What the process was doing says nothing of the kernel's work.
            (
                &[("ktime_get", true), ("tcp_like_name_of_ours", false)],
                Group::Kernel,
            ),
            (
                &[("__memmove_avx_unaligned_erms", false), ("x", false)],
                Group::Bytes,
            ),
            (&[("folkmoot_core::wire::decode", false)], Group::Own),
        ] {
            assert_eq!(of(frames), group, "{frames:?}");
        }
    }
}
