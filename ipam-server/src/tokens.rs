//! Bearer tokens: who a caller is, by the files that the admin keeps.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// The fewest characters of a token: a guess should be hopeless.
const SHORTEST: usize = 16;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// What the plugin does: claim, release, gc, check, status.
    Node,
}

/// The files that tokens are read from, one token per line; empty lines and those that begin with `#` do not count.
#[derive(Clone, Debug)]
pub struct TokenFiles {
    /// Tokens that may do everything.
    pub admin: Option<PathBuf>,
    /// Tokens that may do what the plugin does.
    pub node: Option<PathBuf>,
}

/// The tokens in force. Cheap to clone; a reload is seen by every clone.
#[derive(Clone)]
pub struct Tokens {
    files: TokenFiles,
    known: Arc<RwLock<Vec<Token>>>,
}

struct Token {
    text: String,
    role: Role,
}

impl Tokens {
    /// Reads the files.
    ///
    /// # Errors
    /// `Invalid` when one cannot be read, has no token, or has one that is too short or is of both roles.
    pub fn read(files: TokenFiles) -> Result<Self> {
        let known = Arc::new(RwLock::new(read_all(&files)?));
        Ok(Self { files, known })
    }

    /// Reads the files again. After a failure the tokens before stay in force.
    ///
    /// # Errors
    /// As for `read`.
    pub fn reload(&self) -> Result<()> {
        let tokens = read_all(&self.files)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }

    /// Whose token this is. Takes as long for a token that is nearly right as for one that is all wrong.
    pub fn role(&self, given: &str) -> Option<Role> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut role = None;
        for token in known.iter() {
            if bool::from(token.text.as_bytes().ct_eq(given.as_bytes())) {
                role = Some(token.role);
            }
        }
        role
    }
}

fn read_all(files: &TokenFiles) -> Result<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::new();
    for (path, role) in [(&files.admin, Role::Admin), (&files.node, Role::Node)] {
        let Some(path) = path else { continue };
        for text in read_file(path)? {
            if tokens
                .iter()
                .any(|one| one.text == text && one.role != role)
            {
                return Err(invalid(path, "has a token that is an admin's too"));
            }
            tokens.push(Token { text, role });
        }
    }
    Ok(tokens)
}

fn read_file(path: &Path) -> Result<Vec<String>> {
    let unreadable = |error| invalid(path, format!("cannot be read: {error}"));
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others can read this token file");
    }
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        if line.len() < SHORTEST {
            let what = format!("line {number}: a token has at least {SHORTEST} characters");
            return Err(invalid(path, what));
        }
        if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = format!("line {number}: a token is made of visible ASCII characters");
            return Err(invalid(path, what));
        }
        tokens.push(line.to_owned());
    }
    if tokens.is_empty() {
        return Err(invalid(path, "has no token"));
    }
    Ok(tokens)
}

fn invalid(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("token file {} {what}", path.display()))
}
