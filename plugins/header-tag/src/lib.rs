//! Writes a header into every request and every response: the smallest useful filter, and the one that is measured.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(HeaderTag::default()));
}}

#[derive(Default)]
struct HeaderTag {
    tag: Rc<Tag>,
}

/// The header that is written.
struct Tag {
    name: String,
    value: String,
}

impl Default for Tag {
    fn default() -> Self {
        Self { name: "x-tag".into(), value: "weir".into() }
    }
}

impl Tag {
    /// `{"name": "x-tag", "value": "blue"}`, each of them optional; text that is no JSON object is the value.
    fn parse(configuration: &[u8]) -> Result<Self, String> {
        let mut tag = Self::default();
        let text = std::str::from_utf8(configuration).map_err(|_| "the configuration is no text")?.trim();
        if !text.starts_with('{') {
            if !text.is_empty() {
                tag.value = text.into();
            }
            return Ok(tag);
        }
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (field, target) in [("name", &mut tag.name), ("value", &mut tag.value)] {
            match &json[field] {
                serde_json::Value::Null => {}
                serde_json::Value::String(text) if !text.is_empty() => *target = text.clone(),
                _ => return Err(format!("`{field}` must be a text that is not empty")),
            }
        }
        Ok(tag)
    }
}

impl Context for HeaderTag {}

impl RootContext for HeaderTag {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Tag::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(tag) => {
                self.tag = Rc::new(tag);
                true
            }
            Err(error) => {
                log::error!("header-tag: {error}");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { tag: Rc::clone(&self.tag) }))
    }
}

struct Stream {
    tag: Rc<Tag>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_request_header(&self.tag.name, Some(&self.tag.value));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header(&self.tag.name, Some(&self.tag.value));
        Action::Continue
    }
}
