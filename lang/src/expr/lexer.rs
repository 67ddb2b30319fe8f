//! Text to tokens.

use super::ExprError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Float(f64),
    Text(String),
    /// A name, a keyword or a word operator such as `in`.
    Name(String),
    /// `#`, `#acc`, `#index`: what a closure looks at.
    Pointer(String),
    Symbol(&'static str),
    End,
}

impl Token {
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Int(value) => format!("`{value}`"),
            Token::Float(value) => format!("`{value}`"),
            Token::Text(text) => format!("the text \"{text}\""),
            Token::Name(name) => format!("`{name}`"),
            Token::Pointer(name) => format!("`#{name}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".to_owned(),
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: &[&str] = &[
    "?.", "??", "..", "**", "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ",",
    ":", ";", ".", "?", "|", "+", "-", "*", "/", "%", "^", "<", ">", "!", "=",
];

/// Tokens with the column at which each begins; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ExprError> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let column = lexer.at + 1;
        let token = lexer.token()?;
        let ended = token == Token::End;
        tokens.push((column, token));
        if ended {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, ExprError> {
        Err(ExprError::Syntax { column: self.at + 1, message: message.into() })
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, wanted)| self.peek(ahead) == Some(wanted))
    }

    fn skip_blank(&mut self) -> Result<(), ExprError> {
        loop {
            if self.peek(0).is_some_and(char::is_whitespace) {
                self.at += 1;
            } else if self.starts_with("//") {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else if self.starts_with("/*") {
                let rest = &self.chars[self.at + 2..];
                let Some(end) = rest.windows(2).position(|pair| pair == ['*', '/']) else {
                    return self.error("comment without end");
                };
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token, ExprError> {
        let Some(first) = self.peek(0) else { return Ok(Token::End) };
        let fraction = first == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit());
        match first {
            '\'' | '"' => self.quoted(first),
            '`' => self.raw(),
            '#' => {
                self.at += 1;
                Ok(Token::Pointer(self.word()))
            }
            _ if first.is_ascii_digit() || fraction => self.number(),
            _ if first.is_alphabetic() || first == '_' || first == '$' => {
                Ok(Token::Name(self.word()))
            }
            _ => {
                let Some(symbol) = SYMBOLS.iter().find(|symbol| self.starts_with(symbol)) else {
                    return self.error(format!("unexpected character `{first}`"));
                };
                // `a ?.5 : 1` is a ternary with a fraction, not optional chaining.
                let symbol = if *symbol == "?." && self.peek(2).is_some_and(|c| c.is_ascii_digit())
                {
                    &"?"
                } else {
                    symbol
                };
                self.at += symbol.len();
                Ok(Token::Symbol(symbol))
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn number(&mut self) -> Result<Token, ExprError> {
        let start = self.at;
        let radix = match (self.peek(0), self.peek(1).map(|c| c.to_ascii_lowercase())) {
            (Some('0'), Some('x')) => 16,
            (Some('0'), Some('o')) => 8,
            (Some('0'), Some('b')) => 2,
            _ => 10,
        };
        let mut float = false;
        while let Some(c) = self.peek(0) {
            let in_exponent = radix == 10 && self.at > start && matches!(self.last(), 'e' | 'E');
            let fraction = c == '.' && self.peek(1) != Some('.') && !float && radix == 10;
            if fraction || (radix == 10 && matches!(c, 'e' | 'E')) {
                float = true;
            } else if !(c.is_alphanumeric() || c == '_' || (in_exponent && matches!(c, '+' | '-')))
            {
                break;
            }
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().filter(|c| **c != '_').collect();
        let parsed = if float {
            digits.parse::<f64>().ok().filter(|value| value.is_finite()).map(Token::Float)
        } else {
            let digits = if radix == 10 { &digits[..] } else { &digits[2..] };
            i64::from_str_radix(digits, radix).ok().map(Token::Int)
        };
        match parsed {
            Some(token) => Ok(token),
            None => {
                self.at = start;
                self.error(format!("`{digits}` is no number that can be represented"))
            }
        }
    }

    fn last(&self) -> char {
        self.chars[self.at - 1]
    }

    fn raw(&mut self) -> Result<Token, ExprError> {
        let rest = &self.chars[self.at + 1..];
        let Some(end) = rest.iter().position(|c| *c == '`') else {
            return self.error("text without end");
        };
        let text = rest[..end].iter().collect();
        self.at += end + 2;
        Ok(Token::Text(text))
    }

    fn quoted(&mut self, quote: char) -> Result<Token, ExprError> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek(0) {
                None | Some('\n' | '\r') => {
                    self.at = start;
                    return self.error("text without end");
                }
                Some(c) if c == quote => {
                    self.at += 1;
                    return Ok(Token::Text(text));
                }
                Some('\\') => text.push(self.escape()?),
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, ExprError> {
        let code = self.peek(1);
        let hex_digits = match code {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        if hex_digits > 0 {
            let digits: String = (0..hex_digits).filter_map(|ahead| self.peek(2 + ahead)).collect();
            let value =
                u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == hex_digits);
            let Some(value) = value.and_then(char::from_u32) else {
                return self.error(format!("`\\{}{digits}` is no character", code.unwrap_or('u')));
            };
            self.at += 2 + hex_digits;
            return Ok(value);
        }
        let value = match code {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('v') => '\x0b',
            Some(c @ ('\\' | '/' | '\'' | '"' | '`')) => c,
            other => return self.error(format!("unknown escape `\\{}`", other.unwrap_or(' '))),
        };
        self.at += 2;
        Ok(value)
    }
}
