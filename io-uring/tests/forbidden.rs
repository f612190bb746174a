//! Where io_uring is forbidden, as containers do it, mio takes over.
#![cfg(target_os = "linux")]

#[path = "../../io-mio/tests/conformance/common/mod.rs"]
mod common;

/// The parameter of `common`: what users get who ask for io_uring.
mod driver {
    use folkmoot_core::engine::Engine;
    use folkmoot_core::time::Instant;
    use folkmoot_mio::{BindError, Bound, Handle, Tuning};

    pub(crate) fn tune(_: &mut Tuning) {}

    pub(crate) fn spawn<E: Engine + Send + 'static>(
        bound: Bound,
        engine: E,
        turn: impl FnMut(&mut E, Instant) + Send + 'static,
    ) -> Result<Handle<E>, BindError> {
        folkmoot_uring::spawn_with(bound, folkmoot_uring::Driver::IoUring, engine, turn, || ())
    }
}

mod linux {
    use crate::common::{Role, Toy, connect, run, stop, until};

    /// From here on this thread, and those it starts, are refused `io_uring_setup`.
    fn forbid() {
        const fn statement(code: u32, jump: u8, k: u32) -> libc::sock_filter {
            libc::sock_filter {
                code: code as u16,
                jt: jump,
                jf: 0,
                k,
            }
        }
        let filter = [
            // The number of the call is the first word of what a filter sees.
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            libc::sock_filter {
                code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
                jt: 0,
                jf: 1,
                k: libc::SYS_io_uring_setup as u32,
            },
            statement(
                libc::BPF_RET | libc::BPF_K,
                0,
                libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            ),
            statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the program, which outlives both calls.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    #[test]
    fn mio_takes_over_where_io_uring_is_forbidden() {
        forbid();
        let reason = folkmoot_uring::support().expect_err("forbidden");
        assert!(
            reason.contains("this process may not use io_uring"),
            "{reason}"
        );
        let (server, addr) = run(Toy::new(Role::Echo));
        let (client, _) = run(Toy::new(Role::Collect));
        let conn = connect(&client, addr);
        client.with(|toy, _| toy.send(conn, b"still here"));
        until(&client, |toy| {
            (toy.conns[&conn].received == b"still here").then_some(())
        });
        stop(&client);
        stop(&server);
    }
}
