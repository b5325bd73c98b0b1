//! Commands the session answers itself: who is there, and what can they do?

use packetboat_wire::Secret;

use super::lexer::{self, Lexer, Result};
use super::{Command, CommandError};

/// Pairs of an ID at most, and octets of a field's name and of its value (RFC 2971 section 3.3).
const ID_PAIRS_MAX: usize = 30;
const ID_FIELD_MAX: usize = 30;
const ID_VALUE_MAX: usize = 1024;
/// Octets of what is kept of a client's ID, at most, each.
const ID_KEPT_MAX: usize = 80;
/// Words of one ENABLE at most.
const ENABLE_WORDS_MAX: usize = 50;

/// What a client tells of itself (RFC 2971), as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientId {
    /// `name`
    pub name: Option<String>,
    /// `version`
    pub version: Option<String>,
}

/// `login = "LOGIN" SP userid SP password`
pub(super) fn login(lexer: &mut Lexer<'_>) -> Result<Command> {
    lexer.sp()?;
    let name = lexer.text()?;
    lexer.sp()?;
    let password = Secret::new(lexer.text()?);
    lexer.end()?;
    Ok(Command::Login { name, password })
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]` (RFC 4959 section 7)
pub(super) fn authenticate(lexer: &mut Lexer<'_>) -> Result<Command> {
    lexer.sp()?;
    let mechanism = lexer.word()?;
    let mut initial = None;
    if lexer.end().is_err() {
        lexer.sp()?;
        let response = lexer.take_while(|octet| octet.is_ascii_graphic());
        initial = Some(Secret::new(lexer::utf8(response.into())?));
        lexer.end()?;
    }
    Ok(Command::Authenticate { mechanism, initial })
}

/// `id = "ID" SP id-params-list` (RFC 2971 section 4)
pub(super) fn id(lexer: &mut Lexer<'_>) -> Result<Command> {
    lexer.sp()?;
    if lexer.eat_word("NIL") {
        lexer.end()?;
        return Ok(Command::Id(None));
    }
    let mut id = ClientId::default();
    lexer.list(ID_PAIRS_MAX, |lexer| {
        let field = lexer::utf8(lexer.string()?)?;
        lexer.sp()?;
        let value = lexer.ntext()?;
        if field.len() > ID_FIELD_MAX || value.as_ref().is_some_and(|value| value.len() > ID_VALUE_MAX) {
            return Err(CommandError::Limit("the ID is too long"));
        }
        let kept = value.map(|value| value.chars().filter(|c| !c.is_control()).take(ID_KEPT_MAX).collect());
        if field.eq_ignore_ascii_case("name") {
            id.name = kept;
        } else if field.eq_ignore_ascii_case("version") {
            id.version = kept;
        }
        Ok(())
    })?;
    lexer.end()?;
    Ok(Command::Id(Some(id)))
}

/// `enable = "ENABLE" 1*(SP capability)` (RFC 5161 section 4)
pub(super) fn enable(lexer: &mut Lexer<'_>) -> Result<Command> {
    let mut words = Vec::new();
    while words.is_empty() || lexer.end().is_err() {
        lexer.sp()?;
        if words.len() == ENABLE_WORDS_MAX {
            return Err(CommandError::Limit("too many extensions at once"));
        }
        words.push(lexer.word()?);
    }
    Ok(Command::Enable(words))
}

/// `compress = "COMPRESS" SP algorithm` (RFC 4978 section 4)
pub(super) fn compress(lexer: &mut Lexer<'_>) -> Result<Command> {
    lexer.sp()?;
    if lexer.word()? != "DEFLATE" {
        return Err(CommandError::Syntax("only DEFLATE is known"));
    }
    lexer.end()?;
    Ok(Command::Compress)
}
