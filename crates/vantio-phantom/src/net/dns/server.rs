//! The resolver's TCP side (RFC 7766).

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, Ipv4Addr, Ipv6Addr, SocketAddr, SocketFlags, SocketType, bind, ipproto, listen,
        socket_with, sockopt::set_ipv6_v6only,
    },
};

use vantio_core::Transport;

use super::{Carrier, Resolver};
use crate::net::{
    connect::DNS,
    socket::Sockets,
    thread::{Pool, spawn},
};

/// Listens at port 53 of every address of the run.
pub(in crate::net) fn start(sockets: &Sockets, resolver: &Arc<Resolver>) -> io::Result<()> {
    let listeners =
        sockets.in_run(|| Ok([listener(AddressFamily::INET)?, listener(AddressFamily::INET6)?]))?;
    let resolver = Arc::clone(resolver);
    spawn("net-dns-tcp", move || serve(&listeners, &Pool::new("net-dns-tcp", CLIENTS_MAX), &resolver))
}

fn listener(family: AddressFamily) -> rustix::io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    let address: SocketAddr = if family == AddressFamily::INET6 {
        set_ipv6_v6only(&socket, true)?;
        (Ipv6Addr::UNSPECIFIED, DNS).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, DNS).into()
    };
    bind(&socket, &address)?;
    listen(&socket, CLIENTS_MAX as i32)?;
    Ok(socket.into())
}

fn serve(listeners: &[TcpListener], pool: &Pool, resolver: &Arc<Resolver>) {
    loop {
        let mut waiting: Vec<_> =
            listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
        if poll(&mut waiting, None).is_err() {
            std::thread::sleep(PAUSE);
        }
        for listener in listeners {
            accept(listener, pool, resolver);
        }
    }
}

/// Takes in whoever waits. A client beyond the limit is turned away.
fn accept(listener: &TcpListener, pool: &Pool, resolver: &Arc<Resolver>) {
    loop {
        match listener.accept() {
            // It inherits nothing of the listener's: it blocks.
            Ok((stream, _)) => {
                let resolver = Arc::clone(resolver);
                let _ = pool.submit(move || drop(converse(stream, &resolver)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return std::thread::sleep(PAUSE),
        }
    }
}

/// Answers one question after another until the client closes or falls silent.
fn converse(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let client = stream.peer_addr()?.port();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut packet = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut packet)?;
        let Some(reply) = resolver.answer(&packet, Carrier::Stream, &resolver.askers(Transport::Tcp, client))
        else {
            return Ok(());
        };
        let length = u16::try_from(reply.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat())?;
    }
}

const CLIENTS_MAX: usize = 32;
const SILENCE: Duration = Duration::from_secs(10);
/// How long to wait when there is no descriptor for another client.
const PAUSE: Duration = Duration::from_millis(50);
