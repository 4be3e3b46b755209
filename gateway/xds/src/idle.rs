//! Fields that are set and change nothing: taken for Envoy's sake, and told to who wants to know.

/// One field of a message, with the first place where it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Full name of the message.
    pub message: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// Path of the first place, from the top of the document.
    pub path: String,
    /// Line of that place, from 1, where one is known.
    pub line: Option<u32>,
    /// Why it changes nothing.
    pub reason: &'static str,
    /// In how many places it is set.
    pub count: usize,
}

impl Idle {
    /// Adds to what is known already: a field that is set in a thousand places is told once.
    pub fn gather(known: &mut Vec<Self>, more: impl IntoIterator<Item = Self>) {
        for idle in more {
            match known.iter_mut().find(|k| k.message == idle.message && k.field == idle.field) {
                Some(known) => known.count += idle.count,
                None => known.push(idle),
            }
        }
    }
}
