//! HTTP messages as values: heads, header fields, bodies, and the HTTP/1 wire format. No sockets here.

pub mod body;
pub mod h1;
pub mod head;
pub mod headers;
pub mod one_line;
pub mod path;
pub mod spelling;

pub use body::BodyBuf;
pub use head::{NO_REQUEST, Pseudo, RequestHead, ResponseHead, Version};
pub use headers::HeaderMap;
pub use spelling::{KeyFormat, NameCase, OriginalNames, PreserveCase};
