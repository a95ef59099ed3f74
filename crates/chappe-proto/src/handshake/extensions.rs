//! `Sec-WebSocket-Extensions`: the list of extensions and their parameters (RFC 6455, section 9.1).
//!
//! In: the header's lines. Out: extensions in the order of preference, or an error. It is linear
//! in the length of the header, and keeps a bounded number of extensions and parameters. What a
//! parameter means, and whether it may be repeated, is the extension's to say.

use std::borrow::Cow;

use super::{EMPTY_ELEMENTS_MAX, is_token};

/// An extension, offered or agreed to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<Parameter<'a>>,
}

/// A parameter of an extension; the value is unquoted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Option<Cow<'a, str>>,
}

/// The header is not a list of extensions, or a longer one than anybody needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the lines of the header, of which there may be several.
pub(crate) fn parse<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Extension<'a>>, Malformed> {
    let mut extensions = Vec::new();
    let mut parameters = 0;
    let mut empty = 0;
    for line in lines {
        let mut rest = Rest(str::from_utf8(line).map_err(|_| Malformed)?);
        loop {
            // RFC 9110, 5.6.1.2: a reasonable number of empty elements MUST be ignored.
            while rest.take(',') {
                empty += 1;
            }
            if empty > EMPTY_ELEMENTS_MAX {
                return Err(Malformed);
            }
            if rest.is_empty() {
                break;
            }
            let extension = rest.extension()?;
            parameters += extension.parameters.len();
            extensions.push(extension);
            if extensions.len() > EXTENSIONS_MAX || parameters > PARAMETERS_MAX {
                return Err(Malformed);
            }
            if !rest.is_empty() && !rest.take(',') {
                return Err(Malformed);
            }
        }
    }
    Ok(extensions)
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut parameters: Vec<Parameter> = Vec::new();
        while self.take(';') {
            let name = self.token()?;
            let value = if self.take('=') {
                Some(self.value()?)
            } else {
                None
            };
            if parameters.len() == PARAMETERS_MAX {
                return Err(Malformed);
            }
            parameters.push(Parameter { name, value });
        }
        Ok(Extension { name, parameters })
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_space();
        let end = self
            .0
            .find([',', ';', '=', ' ', '\t', '"'])
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if is_token(token) {
            Ok(token)
        } else {
            Err(Malformed)
        }
    }

    /// A token, or a quoted string whose content is a token (RFC 6455, 9.1).
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.skip_space();
        let Some(quoted) = self.0.strip_prefix('"') else {
            return self.token().map(Cow::Borrowed);
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next() {
                Some((end, '"')) => {
                    self.0 = &quoted[end + 1..];
                    let value = is_token(&value).then_some(Cow::Owned(value));
                    return value.ok_or(Malformed);
                }
                Some((_, '\\')) => value.push(characters.next().ok_or(Malformed)?.1),
                Some((_, character)) => value.push(character),
                None => return Err(Malformed),
            }
        }
    }

    fn take(&mut self, character: char) -> bool {
        self.skip_space();
        let Some(rest) = self.0.strip_prefix(character) else {
            return false;
        };
        self.0 = rest;
        true
    }

    fn is_empty(&mut self) -> bool {
        self.skip_space();
        self.0.is_empty()
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }
}

/// Extensions in a header, over all of its lines.
const EXTENSIONS_MAX: usize = 16;

/// Parameters in a header, over all of its extensions.
const PARAMETERS_MAX: usize = 64;
