//! Servers on the host's loopback that remember who came.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// An HTTP server that answers every request with its path, and remembers the paths.
pub struct Http {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Http {
    pub fn start() -> Self {
        Self::serving(|path| format!("hello from {path}\n").into_bytes())
    }

    /// A server whose answers `body` makes from the path.
    pub fn serving(body: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", body)
    }

    /// A server at an address of its own.
    pub fn on(address: &str, body: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (seen, body) = (Arc::clone(&requests), Arc::new(body));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let (seen, body) = (Arc::clone(&seen), Arc::clone(&body));
                thread::spawn(move || serve(stream, &seen, body.as_ref()));
            }
        });
        Self { address, requests, connections }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        // The kernel has completed a connection before the server has accepted it.
        thread::sleep(Duration::from_millis(50));
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, body: &(dyn Fn(&str) -> Vec<u8> + Send + Sync)) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some(end) = find(&request, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            seen.lock().unwrap().push(path.clone());
            let body = body(&path);
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
            if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
            request.drain(..end + 4);
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => request.extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A UDP socket that remembers what it was sent.
pub struct Udp {
    pub address: SocketAddr,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Udp {
    /// A socket that only listens.
    pub fn on(address: &str) -> Self {
        Self::bound_to(address, |_| None)
    }

    /// A socket that answers what `answer` makes of a datagram.
    pub fn answering(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        Self::bound_to("127.0.0.1:0", answer)
    }

    fn bound_to(address: &str, answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let datagrams = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&datagrams);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                seen.lock().unwrap().push(buffer[..length].to_vec());
                if let Some(reply) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        Self { address, datagrams }
    }

    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        // Datagrams on loopback are queued before the sender returns; give the thread time to take them.
        thread::sleep(Duration::from_millis(50));
        self.datagrams.lock().unwrap().clone()
    }
}
