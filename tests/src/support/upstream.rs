//! An upstream that records what it gets, byte for byte, and answers by script.

use super::response::find_bytes;
use super::{Reply, Step};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// The head as it came, without the empty line; bytes as Latin-1.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailers as they came.
    pub trailers: String,
    /// Whether it came to its end.
    pub complete: bool,
}

impl Seen {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The path with its query.
    pub fn path(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// Headers in order, as they came.
    pub fn headers(&self) -> Vec<(String, String)> {
        super::response::parse_fields(self.head.split_once("\r\n").map_or("", |(_, fields)| fields))
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A listening upstream. Dropping it ends its listener; connections end with their peer.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    record: Arc<Mutex<Record>>,
    acceptor: JoinHandle<()>,
}

#[derive(Default)]
struct Record {
    seen: Vec<Seen>,
    connections: usize,
    open: usize,
    busy: usize,
}

type Answer = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

impl Upstream {
    /// Does what a request's `x-upstream` header says ([`Reply::scripted`]), and says hello otherwise.
    pub async fn start() -> Self {
        Self::answering(|seen, nth| Reply::scripted(&seen.header("x-upstream").unwrap_or_default(), nth)).await
    }

    /// Answers by this function of a request and how many came before it.
    pub async fn answering(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(answer)).await
    }

    /// As [`Upstream::start`], over TLS.
    pub async fn tls(acceptor: TlsAcceptor) -> Self {
        let answer = |seen: &Seen, nth: usize| Reply::scripted(&seen.header("x-upstream").unwrap_or_default(), nth);
        Self::listen(Some(acceptor), Arc::new(answer)).await
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.record.lock().unwrap().seen.clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// When there is none.
    pub fn last(&self) -> Seen {
        self.record.lock().unwrap().seen.last().expect("a request at the upstream").clone()
    }

    /// Takes the requests so far, and counts from 0 again.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.record.lock().unwrap().seen)
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.record.lock().unwrap().connections
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.record.lock().unwrap().open
    }

    /// How many connections are inside a request or an answer.
    pub fn busy(&self) -> usize {
        self.record.lock().unwrap().busy
    }

    async fn listen(tls: Option<TlsAcceptor>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Record::default()));
        let acceptor = tokio::spawn(accept(listener, tls, answer, record.clone()));
        Self { address, record, acceptor }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// An address at which connecting is refused, for as long as the guard lives: a socket that is bound and does not listen.
pub fn refused_address() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    (socket.local_addr().unwrap(), socket)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, answer: Arc<Answer>, record: Arc<Mutex<Record>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answer, record) = (tls.clone(), answer.clone(), record.clone());
        tokio::spawn(async move {
            let number = {
                let mut record = record.lock().unwrap();
                record.connections += 1;
                record.open += 1;
                record.connections - 1
            };
            let _ = stream.set_nodelay(true);
            let connection = async |stream| serve(stream, number, &*answer, &record).await;
            // Every error here is a connection that the gateway ended, which is what the record shows.
            let _ = match tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => connection(Socket::Tls(Box::new(stream))).await,
                    Err(error) => Err(error),
                },
                None => connection(Socket::Plain(stream)).await,
            };
            record.lock().unwrap().open -= 1;
        });
    }
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Socket {
    fn io(&mut self) -> &mut (dyn ReadWrite + '_) {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for T {}

/// Counts a connection as busy while it lives.
struct Busy<'a>(&'a Mutex<Record>);

impl<'a> Busy<'a> {
    fn new(record: &'a Mutex<Record>) -> Self {
        record.lock().unwrap().busy += 1;
        Self(record)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().busy -= 1;
    }
}

async fn serve(mut socket: Socket, number: usize, answer: &Answer, record: &Mutex<Record>) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        while buffer.is_empty() {
            if socket.io().read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let busy = Busy::new(record);
        let head = read_until(&mut socket, &mut buffer, b"\r\n\r\n").await?;
        let head = head.iter().map(|&byte| char::from(byte)).collect();
        let seen = Seen { connection: number, head, ..Seen::default() };
        let index = {
            let mut record = record.lock().unwrap();
            record.seen.push(seen.clone());
            record.seen.len() - 1
        };
        let mut reply = answer(&seen, index);
        reply.bodiless = seen.line().starts_with("HEAD ");
        let early = reply.early;
        let note = |change: &dyn Fn(&mut Seen)| {
            // The record may have been taken meanwhile, and then nobody looks at this request any more.
            if let Some(seen) = record.lock().unwrap().seen.get_mut(index).filter(|entry| entry.head == seen.head) {
                change(seen);
            }
        };
        let steps = reply.steps();
        if early {
            let ended = run(&mut socket, steps).await?;
            if ended {
                return Ok(());
            }
            read_body(&mut socket, &mut buffer, &seen, &note).await?;
        } else {
            read_body(&mut socket, &mut buffer, &seen, &note).await?;
            if run(&mut socket, steps).await? {
                return Ok(());
            }
        }
        drop(busy);
    }
}

/// Does the steps; true when the connection is over.
async fn run(socket: &mut Socket, steps: Vec<Step>) -> io::Result<bool> {
    for step in steps {
        match step {
            Step::Bytes(bytes) => {
                socket.io().write_all(&bytes).await?;
                socket.io().flush().await?;
            }
            Step::Pause(time) if time.is_zero() => tokio::task::yield_now().await,
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Close => {
                socket.io().shutdown().await?;
                return Ok(true);
            }
            Step::Reset => {
                socket.tcp().set_zero_linger()?;
                return Ok(true);
            }
            Step::Stall => {
                let mut sink = Vec::new();
                while socket.io().read_buf(&mut sink).await? > 0 {
                    sink.clear();
                }
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn read_body(socket: &mut Socket, buffer: &mut Vec<u8>, seen: &Seen, note: Note<'_>) -> io::Result<()> {
    let chunked = seen.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if chunked {
        read_chunks(socket, buffer, note).await?;
    } else if let Some(length) = seen.header("content-length") {
        let mut left = length.parse().map_err(io::Error::other)?;
        while left > 0 {
            let part = take_some(socket, buffer, left).await?;
            left -= part.len();
            note(&|seen| seen.body.extend_from_slice(&part));
        }
    }
    note(&|seen| seen.complete = true);
    Ok(())
}

type Note<'a> = &'a (dyn Fn(&dyn Fn(&mut Seen)) + Sync);

async fn read_chunks(socket: &mut Socket, buffer: &mut Vec<u8>, note: Note<'_>) -> io::Result<()> {
    loop {
        let line = read_until(socket, buffer, b"\r\n").await?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut left = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        if left == 0 {
            break;
        }
        while left > 0 {
            let part = take_some(socket, buffer, left).await?;
            left -= part.len();
            note(&|seen| seen.body.extend_from_slice(&part));
        }
        read_until(socket, buffer, b"\r\n").await?;
    }
    loop {
        let line = read_until(socket, buffer, b"\r\n").await?;
        if line.is_empty() {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        note(&|seen| {
            seen.trailers.push_str(&line);
            seen.trailers.push('\n');
        });
    }
}

/// Takes bytes up to a delimiter, which is dropped.
async fn read_until(socket: &mut Socket, buffer: &mut Vec<u8>, delimiter: &[u8]) -> io::Result<Vec<u8>> {
    loop {
        if let Some(length) = find_bytes(buffer, delimiter) {
            let taken = buffer[..length].to_vec();
            buffer.drain(..length + delimiter.len());
            return Ok(taken);
        }
        read_more(socket, buffer).await?;
    }
}

async fn take_some(socket: &mut Socket, buffer: &mut Vec<u8>, at_most: usize) -> io::Result<Vec<u8>> {
    if buffer.is_empty() {
        read_more(socket, buffer).await?;
    }
    let length = at_most.min(buffer.len());
    Ok(buffer.drain(..length).collect())
}

async fn read_more(socket: &mut Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    match socket.io().read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
