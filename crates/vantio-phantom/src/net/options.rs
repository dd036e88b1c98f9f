//! What a program set on a socket before it turned out to need another one.

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{fcntl_getfl, fcntl_setfl},
    io,
};

use crate::sys::socket::{option, set_option};

/// Gives `new` the options and status flags of `old`, as far as they were changed.
///
/// Options that this kernel lacks, or that only a privileged process may set, stay as they
/// are: a program that could set them on `old` can set them on `new`.
pub(crate) fn copy(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    for (level, name) in OPTIONS {
        let (Some(wanted), Some(present)) = (read(old, *level, *name), read(new, *level, *name)) else {
            continue;
        };
        if wanted != present {
            let _ = set_option(new, *level, *name, &wanted);
        }
    }
    for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        copy_buffer_size(old, new, name);
    }
    fcntl_setfl(new, fcntl_getfl(old)?)
}

/// The kernel doubles what a program asks for.
fn copy_buffer_size(old: BorrowedFd<'_>, new: BorrowedFd<'_>, name: i32) {
    let size = |fd| {
        read(fd, libc::SOL_SOCKET, name)
            .and_then(|value| value.first_chunk().copied())
            .map(i32::from_ne_bytes)
    };
    if let (Some(wanted), Some(present)) = (size(old), size(new))
        && wanted != present
    {
        let _ = set_option(new, libc::SOL_SOCKET, name, &(wanted / 2).to_ne_bytes());
    }
}

fn read(fd: BorrowedFd<'_>, level: i32, name: i32) -> Option<Vec<u8>> {
    let mut value = vec![0; VALUE_MAX];
    let length = option(fd, level, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

const VALUE_MAX: usize = 32;

const OPTIONS: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_RECVTOS),
    (libc::IPPROTO_IP, libc::IP_RECVTTL),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
    (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
];

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd, time::Duration};

    use rustix::{
        fs::OFlags,
        net::{AddressFamily, SocketType, socket, sockopt},
    };

    use super::*;

    #[test]
    fn a_new_socket_gets_what_was_set_on_the_old_one() {
        let [old, new] = [(); 2].map(|()| socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap());
        sockopt::set_socket_reuseaddr(&old, true).unwrap();
        sockopt::set_socket_keepalive(&old, true).unwrap();
        sockopt::set_socket_linger(&old, Some(Duration::from_secs(3))).unwrap();
        sockopt::set_socket_timeout(&old, sockopt::Timeout::Send, Some(Duration::from_millis(1500))).unwrap();
        sockopt::set_socket_send_buffer_size(&old, 30_000).unwrap();
        sockopt::set_ipv6_v6only(&old, true).unwrap();
        sockopt::set_tcp_nodelay(&old, true).unwrap();
        sockopt::set_tcp_keepidle(&old, Duration::from_secs(77)).unwrap();
        sockopt::set_tcp_user_timeout(&old, 1234).unwrap();
        fcntl_setfl(&old, OFlags::NONBLOCK).unwrap();

        copy(old.as_fd(), new.as_fd()).unwrap();

        assert!(fcntl_getfl(&new).unwrap().contains(OFlags::NONBLOCK));
        for (level, name) in OPTIONS.iter().chain(&[(libc::SOL_SOCKET, libc::SO_SNDBUF)]) {
            let values = [&old, &new].map(|fd| read(fd.as_fd(), *level, *name));
            assert_eq!(values[0], values[1], "option {name} of level {level}");
        }
        assert_eq!(sockopt::tcp_keepidle(&new), Ok(Duration::from_secs(77)));
    }
}
