//! HTTP/2 by hand: frames and header blocks that no client library would send.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The client's preface with empty SETTINGS.
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame of any kind, flags and payload.
pub fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literal fields without indexing, whatever their bytes; each shorter than 127.
pub fn h2_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Characters are bytes here, so that a test can send any.
            let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
            assert!(bytes.len() < 127, "longer literals need another length");
            block.push(u8::try_from(bytes.len()).unwrap());
            block.extend(bytes);
        }
    }
    block
}

/// What came back on stream 1, until its end or the connection's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct H2Answer {
    /// The status of the last header block, where it is one of those that are plain to read.
    pub status: Option<u16>,
    /// Whether the stream ended by END_STREAM.
    pub ended: bool,
    /// The error code of RST_STREAM.
    pub reset: Option<u32>,
    /// The error code of GOAWAY.
    pub goaway: Option<u32>,
    /// Whether the connection was closed.
    pub closed: bool,
}

/// Sends the preface and these frames on a connection of their own, and waits until stream 1 is over.
pub async fn h2_exchange(to: SocketAddr, frames: &[u8], patience: Duration) -> io::Result<H2Answer> {
    h2_exchange_on(TcpStream::connect(to).await?, frames, patience).await
}

/// As [`h2_exchange`], on this connection.
pub async fn h2_exchange_on(mut stream: TcpStream, frames: &[u8], patience: Duration) -> io::Result<H2Answer> {
    stream.set_nodelay(true)?;
    stream.write_all(&[H2_PREFACE, frames].concat()).await?;
    let (mut answer, mut buffer) = (H2Answer::default(), Vec::new());
    while !answer.is_over() {
        match timeout(patience, stream.read_buf(&mut buffer)).await {
            Err(_) => break,
            Ok(Ok(0) | Err(_)) => answer.closed = true,
            Ok(Ok(_)) => answer.take_frames(&mut buffer),
        }
    }
    Ok(answer)
}

impl H2Answer {
    /// Whether the request was refused, by 400, a reset of the stream, or the end of the connection.
    pub fn is_refused(&self) -> bool {
        self.status == Some(400)
            || self.status.is_none() && (self.reset.is_some() || self.goaway.is_some() || self.closed)
    }

    fn is_over(&self) -> bool {
        self.ended || self.closed || self.reset.is_some()
    }

    fn take_frames(&mut self, buffer: &mut Vec<u8>) {
        while buffer.len() >= 9 {
            let length = usize::from(buffer[0]) << 16 | usize::from(buffer[1]) << 8 | usize::from(buffer[2]);
            if buffer.len() < 9 + length {
                return;
            }
            let frame: Vec<u8> = buffer.drain(..9 + length).collect();
            self.take(frame[3], frame[4], u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]), &frame[9..]);
        }
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match (kind, stream) {
            (0, 1) => self.ended |= flags & 1 != 0,
            (1, 1) => {
                self.status = status(payload).or(self.status);
                self.ended |= flags & 1 != 0;
            }
            (3, 1) => self.reset = payload.first_chunk().map(|code| u32::from_be_bytes(*code)),
            (7, 0) => {
                self.goaway =
                    payload.get(4..8).and_then(|code| code.first_chunk()).map(|code| u32::from_be_bytes(*code))
            }
            _ => {}
        }
    }
}

/// The status at the start of a block: an entry of the static table, or three digits.
fn status(block: &[u8]) -> Option<u16> {
    // A change of the table's size may come first.
    let block = block.iter().position(|byte| byte & 0xe0 != 0x20).map_or(block, |at| &block[at..]);
    let first = *block.first()?;
    if first & 0x80 != 0 {
        return [200, 204, 206, 304, 400, 404, 500].get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let is_status = matches!(first, 0x08..=0x0e | 0x48..=0x4e | 0x18..=0x1e);
    let length = *block.get(1)?;
    let text = block.get(2..2 + usize::from(length & 0x7f)).filter(|_| is_status)?;
    let digits = if length & 0x80 != 0 { huffman_digits(text) } else { str::from_utf8(text).ok()?.to_owned() };
    digits.parse().ok()
}

/// RFC 7541 appendix B: 0, 1, 2 have five bits, 3 to 9 have six; ones pad the end.
fn huffman_digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (mut digits, mut at) = (String::new(), 0);
    let value =
        |range: std::ops::Range<usize>| bits.get(range).map(|bits| bits.iter().fold(0, |sum, bit| sum << 1 | bit));
    while digits.len() < 3 {
        if let Some(short @ 0..=2) = value(at..at + 5) {
            digits.push(char::from(b'0' + short));
            at += 5;
        } else if let Some(long @ 0b011001..=0b011111) = value(at..at + 6) {
            digits.push(char::from(b'3' + long - 0b011001));
            at += 6;
        } else {
            break;
        }
    }
    digits
}
