//! Lets a request pass only with `authorization: Bearer <token>`, and answers the others by itself.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(TokenCheck::default()));
}}

#[derive(Default)]
struct TokenCheck {
    token: Rc<[u8]>,
}

impl Context for TokenCheck {}

impl RootContext for TokenCheck {
    /// The configuration is the token.
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let token = configuration.trim_ascii();
        if token.is_empty() {
            log::error!("token-check: the configuration is empty; it must be the token");
            return false;
        }
        self.token = token.into();
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { token: Rc::clone(&self.token) }))
    }
}

struct Stream {
    token: Rc<[u8]>,
}

impl Stream {
    fn is_authorized(&self) -> bool {
        let Some(header) = self.get_http_request_header_bytes("authorization") else { return false };
        header.split_at_checked(7).is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case(b"bearer ") && is_equal(token.trim_ascii(), &self.token)
        })
    }
}

/// Takes the same time wherever the first difference is.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.is_authorized() {
            // The token is for this gateway, not for what stands behind it.
            self.set_http_request_header("authorization", None);
            return Action::Continue;
        }
        let headers = vec![("www-authenticate", "Bearer"), ("content-type", "text/plain")];
        self.send_http_response(401, headers, Some(b"a token is needed\n"));
        Action::Pause
    }
}
