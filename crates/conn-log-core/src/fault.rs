//! The faults of an event: one table of codes, and the list that a client gets.

use std::fmt;

/// The kind of a fault: the client may not register the event, its shape is wrong, or a value of it
/// is wrong. If an event has faults of several kinds, its client is told the first of these kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// It names a device or application that its client is not bound to.
    Forbidden,
    /// Not JSON, or a field is missing, of the wrong type, or repeated.
    Shape,
    /// A value that breaks a rule of its field.
    Value,
}

macro_rules! fault_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $kind:ident;)*) => {
        /// The stable name of a fault, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FaultCode {
            $($(#[$doc])* $variant,)*
        }

        impl FaultCode {
            /// Every code.
            pub const ALL: &[FaultCode] = &[$(FaultCode::$variant,)*];

            /// The name in answers to clients.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(FaultCode::$variant => $text,)*
                }
            }

            /// The kind of the fault.
            pub fn kind(self) -> FaultKind {
                match self {
                    $(FaultCode::$variant => FaultKind::$kind,)*
                }
            }
        }
    };
}

fault_codes! {
    /// Another device or application than the client is bound to.
    NotBound = "not_bound", Forbidden;
    /// The text is not JSON, or not UTF-8.
    InvalidJson = "invalid_json", Shape;
    /// The text has no event.
    Empty = "empty", Shape;
    /// An event was expected, but the JSON is not an object.
    NotAnObject = "not_an_object", Shape;
    /// A required field is missing.
    Missing = "missing", Shape;
    /// A required field is null.
    Null = "null", Shape;
    /// A field has a wrong JSON type.
    WrongType = "wrong_type", Shape;
    /// A member name is repeated in an object.
    DuplicateKey = "duplicate_key", Shape;
    /// The same field is given under the names of two editions.
    MixedEditions = "mixed_editions", Shape;
    /// A text is shorter or longer than its field allows.
    Length = "length", Value;
    /// A control character in a name.
    ControlCharacter = "control_character", Value;
    /// White space at the start or the end of a name.
    SurroundingSpace = "surrounding_space", Value;
    /// U+0000 in a text.
    NulCharacter = "nul_character", Value;
    /// The value is not one of the allowed values.
    UnknownValue = "unknown_value", Value;
    /// Not an RFC 3339 date-time with an offset.
    InvalidTimestamp = "invalid_timestamp", Value;
    /// More than five minutes ahead of the server's clock.
    InTheFuture = "in_the_future", Value;
    /// Before 1970.
    Before1970 = "before_1970", Value;
    /// Neither an IPv4 nor an IPv6 address.
    InvalidAddress = "invalid_address", Value;
    /// A number outside its field's range.
    OutOfRange = "out_of_range", Value;
    /// Metadata of more than 16 KiB.
    TooLarge = "too_large", Value;
    /// Metadata of more than 8 levels.
    TooDeep = "too_deep", Value;
    /// JSON that RFC 7493 (I-JSON) does not allow: a lone surrogate, or an integer beyond 2^53 - 1.
    NotIJson = "not_i_json", Value;
}

/// Limit of reported faults of one event. An honest event has at most one for each field; without a
/// limit, the answer to a batch of hostile events would be far larger than the request.
pub(crate) const FAULTS_MAX: usize = 32;

/// Limit of bytes of a fault's pointer, for the same reason.
const POINTER_BYTES_MAX: usize = 512;

/// One fault, and its place in the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place in the event: a JSON Pointer (RFC 6901), empty for the whole event.
    pub pointer: String,
    /// The code, for programs.
    pub code: FaultCode,
    /// A description for people. It never repeats a client's value.
    pub detail: String,
}

impl Fault {
    /// A fault at that pointer. A pointer that is too long for an answer is cut.
    pub fn new(pointer: impl Into<String>, code: FaultCode, detail: impl Into<String>) -> Self {
        let mut pointer = pointer.into();
        if pointer.len() > POINTER_BYTES_MAX {
            // A copy: cutting the text in place would keep all of its memory.
            let kept = &pointer[..pointer.floor_char_boundary(POINTER_BYTES_MAX)];
            pointer = format!("{kept}…");
        }
        Fault { pointer, code, detail: detail.into() }
    }
}

/// All faults of one event; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Whether the event may have more faults than are reported.
    pub fn may_be_more(&self) -> bool {
        self.0.len() >= FAULTS_MAX
    }

    /// The faults in the order they were found.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// The first kind of fault of the event, in the order of [`FaultKind`].
    pub fn kind(&self) -> FaultKind {
        self.0.iter().map(|fault| fault.code.kind()).min().unwrap_or(FaultKind::Value)
    }
}

/// The faults found so far. It keeps no more than it may report.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultList(Vec<Fault>);

impl FaultList {
    /// Adds a fault, unless it is already there or there are enough of its kind. Each kind has its
    /// own count, so that many value faults do not hide a shape fault.
    pub(crate) fn push(&mut self, fault: Fault) {
        let kind = fault.code.kind();
        let of_kind = self.0.iter().filter(|other| other.code.kind() == kind);
        if of_kind.count() < FAULTS_MAX && !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    pub(crate) fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.push(fault);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is a fault at exactly this pointer.
    pub(crate) fn has(&self, pointer: &str) -> bool {
        self.0.iter().any(|fault| fault.pointer == pointer)
    }

    /// Removes the fault that the field at this pointer is missing.
    pub(crate) fn forget_missing(&mut self, pointer: &str) {
        self.0.retain(|fault| fault.pointer != pointer || fault.code != FaultCode::Missing);
    }

    /// Removes the faults of the value at exactly this pointer; returns whether there were any. A
    /// repeated name is no fault of the value.
    pub(crate) fn forgive(&mut self, pointer: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|fault| fault.pointer != pointer || fault.code == FaultCode::DuplicateKey);
        self.0.len() < before
    }

    /// Keeps only the first `len` faults.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(crate) fn sort_by_pointer(&mut self) {
        self.0.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    }

    /// `Err` with the faults, or `Ok` if there are none.
    pub(crate) fn check(mut self) -> Result<(), Faults> {
        if self.0.len() > FAULTS_MAX {
            self.0.sort_by_key(|fault| fault.code.kind());
            self.0.truncate(FAULTS_MAX);
        }
        if self.0.is_empty() { Ok(()) } else { Err(Faults(self.0)) }
    }
}

impl IntoIterator for FaultList {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Faults(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", fault.pointer, fault.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// `name` as a further step of a JSON Pointer (RFC 6901, section 3).
pub(crate) fn pointer_step(name: &str) -> String {
    let mut step = String::with_capacity(1 + name.len());
    push_pointer_step(&mut step, name);
    step
}

/// Adds a step to `pointer`.
pub(crate) fn push_pointer_step(pointer: &mut String, name: &str) {
    pointer.push('/');
    if name.contains(['~', '/']) {
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(name);
    }
}
