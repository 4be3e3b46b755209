//! Reads the whole body of a request: refuses it if a forbidden word is in it, else says how long it was.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(BodyInspect::default()));
}}

#[derive(Default)]
struct BodyInspect {
    rules: Rc<Rules>,
}

#[derive(Default)]
struct Rules {
    /// No body may have it.
    forbidden: String,
    /// Write the size into the request as well: its headers are held until the body is complete, which needs
    /// `allow_on_headers_stop_iteration: true` in the proxy's configuration of this plugin.
    request_header: bool,
}

impl Context for BodyInspect {}

impl RootContext for BodyInspect {
    /// `{"forbidden": "word", "request_header": false}`
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let json: serde_json::Value = serde_json::from_slice(&configuration).unwrap_or_default();
        let Some(forbidden) = json["forbidden"].as_str().filter(|word| !word.is_empty()) else {
            log::error!("body-inspect: the configuration must be JSON with a text `forbidden`");
            return false;
        };
        let request_header = json["request_header"].as_bool().unwrap_or(false);
        self.rules = Rc::new(Rules { forbidden: forbidden.into(), request_header });
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { rules: Rc::clone(&self.rules), size: 0 }))
    }
}

struct Stream {
    rules: Rc<Rules>,
    size: usize,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        match (end, self.rules.request_header) {
            (false, true) => Action::Pause,
            _ => Action::Continue,
        }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            // The proxy keeps what came, and shows it with what comes next.
            return Action::Pause;
        }
        self.size = size;
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        let word = self.rules.forbidden.as_bytes();
        if body.windows(word.len()).any(|window| window == word) {
            log::warn!("body-inspect: refused a body of {size} bytes");
            self.send_http_response(403, vec![("content-type", "text/plain")], Some(b"this body is not welcome\n"));
            return Action::Pause;
        }
        if self.rules.request_header {
            self.set_http_request_header("x-body-size", Some(&size.to_string()));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header("x-body-size", Some(&self.size.to_string()));
        Action::Continue
    }
}
