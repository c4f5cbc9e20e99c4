//! What may stand at a key.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::PrincipalKind;

/// Why a value was not taken: what would be right, without what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

/// A type that a configuration can hold.
pub trait Setting: Sized {
    /// What it is, for people, with its article.
    const KIND: &'static str;

    /// Takes the value if it is one.
    ///
    /// # Errors
    /// [`Wrong`], in words that follow the key and do not show the value.
    fn take(value: &DeValue<'_>) -> Result<Self, Wrong>;

    /// As the configuration would say it; a secret says that it is hidden.
    fn show(&self) -> String;
}

/// Something else stands there.
fn other_than(kind: &str, value: &DeValue<'_>) -> Wrong {
    let found = match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Wrong(format!("must be {kind}, not {found}"))
}

/// Text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Setting for String {
    const KIND: &'static str = "text";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_str().map(str::to_owned).ok_or_else(|| other_than(Self::KIND, value))
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    const KIND: &'static str = "a path";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value.as_str() {
            Some("") => Err(Wrong("must be a path, not empty".to_owned())),
            Some(path) => Ok(path.into()),
            None => Err(other_than(Self::KIND, value)),
        }
    }

    fn show(&self) -> String {
        quoted(&self.display().to_string())
    }
}

impl Setting for bool {
    const KIND: &'static str = "true or false";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| other_than(Self::KIND, value))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for SocketAddr {
    const KIND: &'static str = "an address with a port, such as 127.0.0.1:7104";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = value.as_str().ok_or_else(|| other_than(Self::KIND, value))?;
        text.parse().map_err(|_no_address| Wrong(format!("must be {}", Self::KIND)))
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for PrincipalKind {
    const KIND: &'static str = "agent, person or service";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let known = [Self::Agent, Self::Person, Self::Service];
        let named = value.as_str().and_then(|word| known.into_iter().find(|kind| kind.as_str() == word));
        named.ok_or_else(|| Wrong(format!("must be {}", Self::KIND)))
    }

    fn show(&self) -> String {
        quoted(self.as_str())
    }
}

impl<T: Setting> Setting for Vec<T> {
    const KIND: &'static str = "a list";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let list = value.as_array().ok_or_else(|| other_than(Self::KIND, value))?;
        let taken = list.iter().enumerate().map(|(at, item)| {
            T::take(item.get_ref()).map_err(|Wrong(problem)| Wrong(format!("item {} {problem}", at + 1)))
        });
        taken.collect()
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

/// A value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T: Setting> Setting for OneOrMore<T> {
    const KIND: &'static str = T::KIND;

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        if value.as_array().is_some() {
            Vec::take(value).map(Self)
        } else {
            T::take(value).map(|one| Self(vec![one]))
        }
    }

    fn show(&self) -> String {
        match self.0.as_slice() {
            [one] => one.show(),
            _ => self.0.show(),
        }
    }
}

/// Numbers say what they are by their range, which the table checks.
macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            const KIND: &'static str = "a whole number";

            fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
                let digits = value.as_integer().ok_or_else(|| other_than(Self::KIND, value))?;
                Self::from_str_radix(digits.as_str(), digits.radix()).map_err(|_does_not_fit| {
                    Wrong(format!("{digits} must be {} to {}", Self::MIN, Self::MAX))
                })
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u16, u32, u64, usize, i64);
