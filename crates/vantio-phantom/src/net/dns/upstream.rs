//! Asking the host's name servers.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use hickory_proto::op::{Message, ResponseCode};

use super::message::Question;

/// Asks each server in turn, twice, until one answers. When none could but some answered with
/// a failure, that is the answer.
pub(super) fn ask(servers: &[SocketAddr], question: &Question) -> io::Result<Message> {
    let end = Instant::now() + PATIENCE;
    let mut last = Err(ErrorKind::NotConnected.into());
    for server in servers.iter().chain(servers) {
        if Instant::now() >= end {
            break;
        }
        match exchange(*server, question) {
            Ok(answer) if is_final(&answer) => return Ok(answer),
            Ok(answer) => last = Ok(answer),
            Err(error) => last = last.or(Err(error)),
        }
    }
    last
}

fn is_final(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn exchange(server: SocketAddr, question: &Question) -> io::Result<Message> {
    let answer = by_datagram(server, question)?;
    if answer.metadata.truncation { by_stream(server, question) } else { Ok(answer) }
}

/// From a fresh port with a fresh number, so that an answer is hard to forge.
fn by_datagram(server: SocketAddr, question: &Question) -> io::Result<Message> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    let id = random()?;
    socket.send(&question.upstream(id).ok_or(ErrorKind::InvalidInput)?)?;
    let end = Instant::now() + TIMEOUT;
    let mut buffer = vec![0; BUFFER];
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(rest))?;
        let length = socket.recv(&mut buffer)?;
        if let Some(answer) = question.accept(id, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

fn by_stream(server: SocketAddr, question: &Question) -> io::Result<Message> {
    let id = random()?;
    let query = question.upstream(id).ok_or(ErrorKind::InvalidInput)?;
    let length = u16::try_from(query.len()).map_err(|_| ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    question.accept(id, &answer).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|_| ErrorKind::Unsupported)?;
    Ok(u16::from_ne_bytes(bytes))
}

const TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(8);
const BUFFER: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use hickory_proto::{
        op::MessageType,
        rr::{RData, Record, RecordType, rdata::A},
    };

    use super::*;

    fn answer(query: &[u8], change: impl Fn(&mut Message)) -> Vec<u8> {
        let mut message = Message::from_vec(query).unwrap();
        message.metadata.message_type = MessageType::Response;
        let name = message.queries[0].name.clone();
        message.add_answer(Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
        change(&mut message);
        message.to_vec().unwrap()
    }

    /// A server that answers one datagram with each of the packets that `make` gives.
    fn server(make: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            for packet in make(&buffer[..length]) {
                socket.send_to(&packet, client).unwrap();
            }
        });
        address
    }

    fn question() -> Question {
        Question::own("example.com", RecordType::A).unwrap()
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let server = server(|query| {
            vec![
                b"noise".to_vec(),
                answer(query, |message| message.metadata.id ^= 1),
                answer(query, |message| message.metadata.message_type = MessageType::Query),
                answer(query, |message| message.queries[0].name = "example.org.".parse().unwrap()),
                answer(query, |message| message.answers[0].ttl = 77),
            ]
        });
        assert_eq!(ask(&[server], &question()).unwrap().answers[0].ttl, 77);
    }

    #[test]
    fn a_server_that_fails_is_passed_over() {
        let broken = server(|query| {
            vec![answer(query, |message| message.metadata.response_code = ResponseCode::ServFail)]
        });
        let good = server(|query| vec![answer(query, |_| ())]);
        let answer = ask(&[broken, good], &question()).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    }

    #[test]
    fn a_truncated_answer_is_asked_for_again_by_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            let cut = answer(&buffer[..length], |message| {
                message.metadata.truncation = true;
                message.answers.clear();
            });
            socket.send_to(&cut, client).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            let answer = answer(&query, |_| ());
            stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        });
        assert_eq!(ask(&[address], &question()).unwrap().answers.len(), 1);
    }

    #[test]
    fn no_server_is_an_error() {
        assert!(ask(&[], &question()).is_err());
    }
}
