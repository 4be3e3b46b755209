//! Misbehaves on demand, to show that a gateway survives it.
//!
//! `x-chaos: panic` does it when the request's headers come; `x-chaos: panic@response` when the response's come; a path
//! such as `/chaos/panic` does the same as the header.

use std::hint::black_box;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Chaos));
}}

struct Chaos;

impl Context for Chaos {}

impl RootContext for Chaos {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { wish: String::new() }))
    }
}

struct Stream {
    /// What to do, and where: `loop`, `loop@body`.
    wish: String,
}

impl Stream {
    fn reach(&self, place: &str) {
        match self.wish.split_once('@').unwrap_or((&self.wish, "request")) {
            (deed, at) if at == place => misbehave(deed),
            _ => {}
        }
    }
}

fn misbehave(deed: &str) {
    match deed {
        "panic" => panic!("asked to"),
        "trap" => trap(),
        "loop" => loop {
            black_box(());
        },
        "allocate" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recurse" => drop(black_box(recurse(1))),
        "log" => (0..1000).for_each(|line| log::warn!("chaos: line {line}")),
        _ => {}
    }
}

#[cfg(target_arch = "wasm32")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

/// So that `make lint` needs no toolchain for wasm32.
#[cfg(not(target_arch = "wasm32"))]
fn trap() -> ! {
    std::process::abort()
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.wish = match self.get_http_request_header("x-chaos") {
            Some(wish) => wish,
            None => match self.get_http_request_header(":path").as_deref().map(|path| path.strip_prefix("/chaos/")) {
                Some(Some(wish)) => wish.into(),
                _ => return Action::Continue,
            },
        };
        self.reach("request");
        Action::Continue
    }

    fn on_http_request_body(&mut self, _size: usize, _end: bool) -> Action {
        self.reach("body");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.reach("response");
        Action::Continue
    }

    fn on_log(&mut self) {
        self.reach("log");
    }
}
