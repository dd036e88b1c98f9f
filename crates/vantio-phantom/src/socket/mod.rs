//! The local sockets of a run: where they are, who is heard, and how a conversation begins.
//!
//! A socket is a file in the run's folder, which no run sees, and only the folder's owner may connect to it. Whoever
//! speaks for an agent is not heard all the same: connections that a supervisor makes are its agent's. What is said first
//! is one [`line`] each way, of a bounded length, within a bounded time.

pub mod line;

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, fchmod},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen as listen_at, socket_with},
    process::{Pid, geteuid, getpid},
};

use crate::{proc, sys};

/// Listens at the socket `name` in the run's `folder`. From its first moment on it is its owner's alone.
pub fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // What a socket's file permits is what the socket does when it is bound.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let (_held, path) = short_path(folder, name)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen_at(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Connects to it.
pub fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let (_held, path) = short_path(folder, name)?;
    UnixStream::connect(path)
}

/// Removes that of a run that is over.
pub fn remove(folder: &Path, name: &str) {
    // Not every run has every socket.
    drop(fs::remove_file(folder.join(name)));
}

/// Answers whoever connects, one after the other, from a thread of this name for as long as this process lives.
/// `is_stranger` says of a process whether it speaks for somebody who is not heard.
pub fn serve(
    listener: UnixListener,
    name: &str,
    is_stranger: impl Fn(Pid) -> bool + Send + 'static,
    answer: impl Fn(&UnixStream, u32) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    if let Some(user) = hear(&stream, &is_stranger) {
                        // Whoever went away needs no answer.
                        drop(answer(&stream, user));
                    }
                }
                Err(_) => pause(),
            }
        }
    })?;
    Ok(())
}

/// The user at the other end, where it is one who is heard: this process's own, or root; and not for an agent.
pub fn hear(stream: &UnixStream, is_stranger: impl Fn(Pid) -> bool) -> Option<u32> {
    let (pid, user) = sys::socket::peer(stream.as_fd()).ok()?;
    let is_user = user == geteuid().as_raw() || user == 0;
    // A process that has no number here is in no namespace of this one's.
    let pid = pid.filter(|pid| is_user && *pid != getpid())?;
    (!is_deeper(pid) && !is_stranger(pid)).then_some(user)
}

/// After a failure to accept: out of descriptors, say. The next may do better.
pub fn pause() {
    thread::sleep(Duration::from_millis(100));
}

/// Whether the process is in a namespace of processes below this one's, as those of a run are. Of a process that
/// cannot be seen (`hidepid` of `proc(5)`) nobody knows, and the folder alone keeps it out.
fn is_deeper(pid: Pid) -> bool {
    depth(pid).zip(depth(getpid())).is_some_and(|(theirs, own)| theirs > own)
}

/// How many namespaces of processes the process has a number in.
fn depth(pid: Pid) -> Option<usize> {
    let status = proc::text(CWD, &format!("/proc/{}/status", pid.as_raw_pid())).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().count())
}

/// A path to the socket that is never too long for an address, and what keeps it valid.
fn short_path(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let folder = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    Ok((folder, path.into()))
}

/// How many may wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    #[test]
    fn how_deep_a_process_is_does_not_depend_on_its_name() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        // Who starts a program goes on a moment before the program has its name.
        let name = format!("/proc/{}/comm", child.id());
        while fs::read(&name).unwrap() != b"\xff\xfe\n" && child.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
        assert_eq!(depth(Pid::from_child(&child)), depth(getpid()));
        assert!(depth(getpid()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_socket_is_its_owners_alone_however_deep_its_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(200)).join("e".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        let _listener = listen(&deep, "a.sock").unwrap();
        assert_eq!(deep.join("a.sock").metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        connect(&deep, "a.sock").unwrap();
        remove(&deep, "a.sock");
        remove(&deep, "a.sock");
        assert!(connect(&deep, "a.sock").is_err());
    }

    #[test]
    fn this_process_is_not_heard_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen(folder.path(), "a.sock").unwrap();
        let answer = |mut stream: &UnixStream, _| stream.write_all(b"heard");
        serve(listener, "test", |_| false, answer).unwrap();
        let mut told = String::new();
        connect(folder.path(), "a.sock").unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(told, "");
    }
}
