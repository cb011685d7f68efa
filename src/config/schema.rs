//! How one setting is described: the macro that declares a section once (struct, defaults, table for checks and for
//! `docs/configuration.md`), and what each type of value accepts.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use toml::Value;

use crate::telemetry::{logging::LogFormat, redact::Secret};

/// How the text of an environment variable becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Integer,
    Boolean,
    Text,
    /// Separated by commas in the environment.
    List,
}

/// A type that a setting can have.
pub trait Kind: DeserializeOwned {
    const SHAPE: Shape;
    /// What is accepted, for messages and the reference: «a whole number».
    const ACCEPTS: &'static str;
    const SECRET: bool = false;
    /// The default as the reference shows it.
    fn show(&self) -> String;
}

macro_rules! integer_kinds {
    ($($type:ty),*) => {$(
        impl Kind for $type {
            const SHAPE: Shape = Shape::Integer;
            const ACCEPTS: &'static str = "a whole number";
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
integer_kinds!(i64, u32, u64, usize);

impl Kind for bool {
    const SHAPE: Shape = Shape::Boolean;
    const ACCEPTS: &'static str = "true or false";
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Kind for String {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "a text";
    fn show(&self) -> String {
        self.clone()
    }
}

impl Kind for PathBuf {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "a path";
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Kind for SocketAddr {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "an IP address and a port such as 127.0.0.1:8080";
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Kind for Secret {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "a text";
    const SECRET: bool = true;
    fn show(&self) -> String {
        "set".to_owned()
    }
}

impl Kind for Vec<Secret> {
    const SHAPE: Shape = Shape::List;
    const ACCEPTS: &'static str = "a list of texts";
    const SECRET: bool = true;
    fn show(&self) -> String {
        if self.is_empty() { "none" } else { "set" }.to_owned()
    }
}

impl Kind for Vec<IpNet> {
    const SHAPE: Shape = Shape::List;
    const ACCEPTS: &'static str = "a list of networks such as 10.0.0.0/8";
    fn show(&self) -> String {
        if self.is_empty() { "none".to_owned() } else { self.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ") }
    }
}

impl Kind for LogFormat {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "pretty or json";
    fn show(&self) -> String {
        match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        }
        .to_owned()
    }
}

impl<T: Kind> Kind for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const ACCEPTS: &'static str = T::ACCEPTS;
    const SECRET: bool = T::SECRET;
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "unset".to_owned(), T::show)
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Dotted name: `server.listen`.
    pub name: &'static str,
    pub meaning: &'static str,
    /// Parts of the default; see [`Setting::default_text`].
    default: fn() -> String,
    pub shape: Shape,
    pub accepts: &'static str,
    /// Values are never shown.
    pub secret: bool,
    /// Smallest and largest number that makes sense.
    pub range: Option<(i64, i64)>,
    /// False: a known name whose feature is not part of this version.
    pub effective: bool,
    fits: fn(&Value) -> bool,
}

impl Setting {
    /// Used by the macro [`section!`] only.
    pub const fn new<T: Kind>(name: &'static str, meaning: &'static str, default: fn() -> String, range: Option<(i64, i64)>) -> Self {
        Self {
            name,
            meaning,
            default,
            shape: T::SHAPE,
            accepts: T::ACCEPTS,
            secret: T::SECRET,
            range,
            effective: true,
            fits: |value| T::deserialize(value.clone()).is_ok(),
        }
    }

    /// A name that is accepted and does nothing yet.
    pub const fn reserved<T: Kind>(name: &'static str, meaning: &'static str) -> Self {
        Self { effective: false, ..Self::new::<T>(name, meaning, || "unset".to_owned(), None) }
    }

    pub fn default_text(&self) -> String {
        (self.default)()
    }

    /// `PIXGATE_SERVER__LISTEN` for `server.listen`.
    pub fn variable(&self) -> String {
        format!("PIXGATE_{}", self.name.replace('.', "__").to_ascii_uppercase())
    }

    /// The value that the text of an environment variable stands for; a text of the wrong shape stays a text and fails
    /// [`Setting::check`]. A number given for a text stays a text, so that an all-digit secret survives.
    pub fn parse(&self, text: &str) -> Value {
        let typed = match self.shape {
            Shape::Integer => text.trim().parse().ok().map(Value::Integer),
            Shape::Boolean => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(Value::Boolean(true)),
                "false" | "0" | "no" | "off" => Some(Value::Boolean(false)),
                _ => None,
            },
            Shape::Text => None,
            Shape::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
        };
        typed.unwrap_or_else(|| Value::String(text.to_owned()))
    }

    /// What is wrong with `value`, without showing it if it is secret.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Err("is empty; give it a value or leave it out".to_owned());
        }
        let number = value.as_integer().filter(|_| self.shape == Shape::Integer);
        if let (Some((least, most)), Some(number)) = (self.range, number)
            && !(least..=most).contains(&number)
        {
            return Err(format!("must be between {least} and {most}, not {number}"));
        }
        if !(self.fits)(value) {
            let found = if self.secret { String::new() } else { format!(", not {value}") };
            return Err(format!("must be {}{found}", self.accepts));
        }
        Ok(())
    }
}

/// Declares one section: its struct, its defaults and its rows of the table.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $name:ident in $prefix:literal {
            $($(#[doc = $meaning:literal])+ $field:ident: $type:ty = $default:expr $(, $least:literal to $most:expr)?;)*
        }
        $(with { $($inner:ident: $inner_type:ty),* })?
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $meaning])+ pub $field: $type,)*
            $($(#[doc = concat!("`[", $prefix, ".", stringify!($inner), "]`")] pub $inner: $inner_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* $($($inner: Default::default(),)*)? }
            }
        }

        impl $name {
            pub const SETTINGS: &'static [$crate::config::schema::Setting] = &[$({
                #[allow(unused_mut, unused_assignments, reason = "only some settings have a range")]
                const RANGE: Option<(i64, i64)> = { let mut range = None; $(range = Some(($least, $most));)? range };
                $crate::config::schema::Setting::new::<$type>(
                    concat!($prefix, ".", stringify!($field)),
                    concat!($($meaning),+),
                    || { let default: $type = $default; $crate::config::schema::Kind::show(&default) },
                    RANGE,
                )
            }),*];
        }
    };
}
pub(super) use section;

/// The whole reference as the Markdown page `docs/configuration.md`.
pub fn reference_page<'a>(settings: impl Iterator<Item = &'a Setting>) -> String {
    let mut page = String::from(REFERENCE_HEAD);
    let mut reserved = Vec::new();
    let mut section = "";
    for setting in settings {
        if !setting.effective {
            reserved.push(setting);
            continue;
        }
        let here = setting.name.rsplit_once('.').map_or(setting.name, |(section, _)| section);
        if here != section {
            section = here;
            let _ = write!(page, "\n## {section}\n| setting | variable | meaning | default |\n|---|---|---|---|\n");
        }
        let range = setting.range.map(|(least, most)| format!(" ({least} to {most})")).unwrap_or_default();
        let row = (setting.name, setting.variable(), setting.meaning.trim(), range, setting.default_text());
        let _ = writeln!(page, "| `{}` | `{}` | {}{} | {} |", row.0, row.1, row.2, row.3, row.4);
    }
    page.push_str(RESERVED_HEAD);
    for setting in reserved {
        let _ = writeln!(page, "- `{}` – {}", setting.name, setting.meaning);
    }
    page
}

const REFERENCE_HEAD: &str = "# Configuration

<!-- Generated from src/config/settings.rs; to update: PIXGATE_TEST_UPDATE_DOCS=1 cargo test --lib config:: -->

Settings are read from `pixgate.toml` (the one in the working directory, or `--config PATH`) and overridden by environment
variables. A list is separated by commas in a variable. `pixgate check-config` names every unknown, wrong or contradictory
setting; `pixgate serve` refuses to start with one (exit code 2).

Aliases that many environments already have: `DATABASE_URL`, `REDIS_URL`, `PORT` (of `server.listen`, the host stays),
`OPENAI_API_KEY`, `OPENAI_BASE_URL`, and so on for every provider that has a section below. A `PIXGATE_…` variable wins over an alias, and an alias wins over the file; an empty alias
counts as not set.
";

const RESERVED_HEAD: &str = "
## Known names without effect in this version
They are accepted, and `check-config` says that they do nothing yet.

";
