//! Tokens to a tree, by precedence climbing as expr-lang/expr does it.

use std::sync::Arc;

use super::lexer::{Token, tokens};
use super::{ExprError, MAX_DEPTH, MAX_NODES, builtins};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Literal(expr::Value),
    /// `result` or a name bound by `let`.
    Variable(String),
    /// `#` (empty), `#acc`, `#index`.
    Pointer(String),
    Array(Vec<Node>),
    Map(Vec<(String, Node)>),
    Unary(Unary, Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    /// `a?.b.c`: the part that answers nil as a whole when something before `?.` is nil.
    Chain(Box<Node>),
    Index {
        base: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    Slice {
        base: Box<Node>,
        from: Option<Box<Node>>,
        to: Option<Box<Node>>,
    },
    Method {
        base: Box<Node>,
        name: String,
        arguments: Vec<Node>,
    },
    Call {
        name: String,
        arguments: Vec<Node>,
        closure: Option<Box<Node>>,
    },
    If(Box<Node>, Box<Node>, Box<Node>),
    Shared(Arc<Node>),
    Let(String, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Unary {
    Not,
    Plus,
    Minus,
}

pub(super) fn parse(text: &str) -> Result<Node, ExprError> {
    let tokens = tokens(text)?;
    let mut parser =
        Parser { tokens, at: 0, depth: 0, nodes: 0, closures: 0, names: vec!["result".to_owned()] };
    let node = parser.sequence()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => parser.unexpected("an operator or the end"),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    nodes: usize,
    /// How many closures enclose the place: `#` has a meaning inside of one only.
    closures: usize,
    /// Names in scope.
    names: Vec<String>,
}

/// Precedence of a binary operator; those of one level associate to the left, except `**` and `^`.
fn precedence(operator: &str) -> u8 {
    match operator {
        "|" => 0,
        "||" | "or" => 10,
        "&&" | "and" => 15,
        "==" | "!=" | "<" | ">" | "<=" | ">=" | "in" | "matches" | "contains" | "startsWith"
        | "endsWith" => 20,
        ".." => 25,
        "+" | "-" => 30,
        "*" | "/" | "%" => 60,
        "**" | "^" => 100,
        _ => 200, // `??`
    }
}
const NOT_PRECEDENCE: u8 = 50;
const SIGN_PRECEDENCE: u8 = 90;
const WORD_OPERATORS: [&str; 8] =
    ["or", "and", "in", "matches", "contains", "startsWith", "endsWith", "not"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", ">", "<=", ">="];
const RESERVED: [&str; 13] = [
    "true",
    "false",
    "nil",
    "let",
    "if",
    "else",
    "not",
    "in",
    "or",
    "and",
    "matches",
    "contains",
    "startsWith",
];

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].1.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.next();
        }
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name) if name == word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ExprError> {
        if self.accept(symbol) {
            return Ok(());
        }
        self.unexpected(&format!("`{symbol}`"))
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, ExprError> {
        Err(ExprError::Syntax { column: self.tokens[self.at].0, message: message.into() })
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, ExprError> {
        self.unexpected_at(self.at, wanted)
    }

    fn unexpected_at<T>(&self, at: usize, wanted: &str) -> Result<T, ExprError> {
        let (column, token) = &self.tokens[at];
        let message = format!("found {}, expected {wanted}", token.describe());
        Err(ExprError::Syntax { column: *column, message })
    }

    fn count(&mut self) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let (observed, limit) = (self.nodes, MAX_NODES);
            return Err(ExprError::TooBig { what: "complex", observed, limit });
        }
        Ok(())
    }

    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ExprError>,
    ) -> Result<T, ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let (observed, limit) = (self.depth, MAX_DEPTH);
            return Err(ExprError::TooBig { what: "deep", observed, limit });
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// `let name = value; rest`, or an expression.
    fn sequence(&mut self) -> Result<Node, ExprError> {
        if !self.accept_word("let") {
            return self.expression(0);
        }
        self.count()?;
        let at = self.at;
        let name = match self.next() {
            Token::Name(name) if !RESERVED.contains(&name.as_str()) => name,
            _ => return self.unexpected_at(at, "a name after `let`"),
        };
        self.expect("=")?;
        let value = self.expression(0)?;
        self.expect(";")?;
        self.names.push(name.clone());
        let rest = self.nested(Self::sequence)?;
        self.names.pop();
        Ok(Node::Let(name, Box::new(value), Box::new(rest)))
    }

    fn expression(&mut self, minimum: u8) -> Result<Node, ExprError> {
        self.nested(|parser| {
            let node = parser.binary(minimum)?;
            if minimum == 0 { parser.ternary(node) } else { Ok(node) }
        })
    }

    fn ternary(&mut self, condition: Node) -> Result<Node, ExprError> {
        if !self.accept("?") {
            return Ok(condition);
        }
        self.count()?;
        let consequent = self.expression(0)?;
        self.expect(":")?;
        let alternative = self.expression(0)?;
        Ok(Node::If(Box::new(condition), Box::new(consequent), Box::new(alternative)))
    }

    /// The binary operator at this place: its name, and whether `not` stands before it.
    fn operator(&self) -> Option<(&'static str, bool)> {
        match self.peek() {
            Token::Symbol("!" | "=" | "?" | "?." | "." | ":" | "," | ";") => None,
            Token::Symbol("(" | ")" | "[" | "]" | "{" | "}") => None,
            Token::Symbol(symbol) => Some((symbol, false)),
            Token::Name(name) if name == "not" => match &self.tokens.get(self.at + 1)?.1 {
                Token::Name(name) => {
                    let word = WORD_OPERATORS.iter().find(|word| *word == name)?;
                    (precedence(word) == 20).then_some((*word, true))
                }
                _ => None,
            },
            Token::Name(name) => {
                WORD_OPERATORS.iter().find(|word| *word == name).map(|word| (*word, false))
            }
            _ => None,
        }
    }

    fn binary(&mut self, minimum: u8) -> Result<Node, ExprError> {
        let mut left = self.unary()?;
        // The last comparison of a chain `1 < x < 3`: its right operand is the next one's left.
        let mut chained: Option<Node> = None;
        while let Some((operator, negated)) = self.operator() {
            let level = precedence(operator);
            if level < minimum {
                break;
            }
            self.count()?;
            self.next();
            if negated {
                self.next();
            }
            if operator == "|" {
                left = self.pipe(left)?;
                continue;
            }
            let right_associative = level == 100;
            let right =
                self.expression(if right_associative { level } else { level.saturating_add(1) })?;
            let (right, shared) = self.share_if_chained(operator, right);
            left = match chained.take() {
                Some(middle) => {
                    let next = Node::Binary(operator, Box::new(middle), Box::new(right));
                    Node::Binary("&&", Box::new(left), Box::new(next))
                }
                None => Node::Binary(operator, Box::new(left), Box::new(right)),
            };
            if negated {
                left = Node::Unary(Unary::Not, Box::new(left));
            }
            chained = shared;
        }
        Ok(left)
    }

    /// The middle of `1 < x < 3` belongs to both comparisons; it is shared, because copies would double at each nesting.
    fn share_if_chained(&self, operator: &str, right: Node) -> (Node, Option<Node>) {
        let comparison = |name: &str| COMPARISONS.contains(&name);
        if comparison(operator) && self.operator().is_some_and(|(next, _)| comparison(next)) {
            let shared = Arc::new(right);
            (Node::Shared(Arc::clone(&shared)), Some(Node::Shared(shared)))
        } else {
            (right, None)
        }
    }

    fn pipe(&mut self, value: Node) -> Result<Node, ExprError> {
        let at = self.at;
        match self.next() {
            Token::Name(name) if self.is("(") => {
                let call = self.call(name, Some(value))?;
                self.postfix(call)
            }
            _ => self.unexpected_at(at, "a function after `|`"),
        }
    }

    fn unary(&mut self) -> Result<Node, ExprError> {
        let (unary, level) = match self.peek() {
            Token::Symbol("!") => (Unary::Not, NOT_PRECEDENCE),
            Token::Name(name) if name == "not" => (Unary::Not, NOT_PRECEDENCE),
            Token::Symbol("-") => (Unary::Minus, SIGN_PRECEDENCE),
            Token::Symbol("+") => (Unary::Plus, SIGN_PRECEDENCE),
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        self.count()?;
        self.next();
        let operand = self.expression(level)?;
        Ok(Node::Unary(unary, Box::new(operand)))
    }

    fn primary(&mut self) -> Result<Node, ExprError> {
        self.count()?;
        if self.is(".") && self.closures > 0 {
            return Ok(Node::Pointer(String::new())); // `.field` is `#.field`
        }
        let at = self.at;
        match self.next() {
            Token::Int(value) => Ok(Node::Literal(value.into())),
            Token::Float(value) => Ok(Node::Literal(value.into())),
            Token::Text(text) => Ok(Node::Literal(text.into())),
            Token::Pointer(name) if self.closures > 0 => Ok(Node::Pointer(name)),
            Token::Pointer(_) => {
                self.at = at;
                self.error("`#` has a meaning inside of a function like `all(result, # < 5)` only")
            }
            Token::Symbol("(") => {
                let node = self.nested(Self::sequence)?;
                self.expect(")")?;
                Ok(node)
            }
            Token::Symbol("[") => Ok(Node::Array(self.list("]")?)),
            Token::Symbol("{") => self.map(),
            Token::Name(name) => {
                self.at = at;
                self.name(name)
            }
            _ => self.unexpected_at(at, "a value"),
        }
    }

    fn name(&mut self, name: String) -> Result<Node, ExprError> {
        match name.as_str() {
            "true" | "false" => {
                self.next();
                Ok(Node::Literal((name == "true").into()))
            }
            "nil" => {
                self.next();
                Ok(Node::Literal(expr::Value::Nil))
            }
            "if" => {
                self.next();
                self.conditional()
            }
            _ if matches!(self.tokens.get(self.at + 1), Some((_, Token::Symbol("(")))) => {
                self.next();
                self.call(name, None)
            }
            _ if self.names.contains(&name) => {
                self.next();
                Ok(Node::Variable(name))
            }
            _ if RESERVED.contains(&name.as_str()) => self.unexpected("a value"),
            _ => self.error(format!(
                "unknown name `{name}`: a condition knows {}",
                self.names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    fn conditional(&mut self) -> Result<Node, ExprError> {
        let condition = self.expression(0)?;
        let consequent = self.block()?;
        if !self.accept_word("else") {
            return self.unexpected("`else`");
        }
        let alternative = if self.accept_word("if") {
            self.count()?;
            self.nested(Self::conditional)?
        } else {
            self.block()?
        };
        Ok(Node::If(Box::new(condition), Box::new(consequent), Box::new(alternative)))
    }

    fn block(&mut self) -> Result<Node, ExprError> {
        self.expect("{")?;
        let node = self.nested(Self::sequence)?;
        self.expect("}")?;
        Ok(node)
    }

    fn list(&mut self, close: &str) -> Result<Vec<Node>, ExprError> {
        let mut items = Vec::new();
        while !self.accept(close) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.accept(close) {
                    break;
                }
            }
            items.push(self.expression(0)?);
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Node, ExprError> {
        let mut entries = Vec::new();
        while !self.accept("}") {
            if !entries.is_empty() {
                self.expect(",")?;
                if self.accept("}") {
                    break;
                }
            }
            let at = self.at;
            let key = match self.next() {
                Token::Name(key) | Token::Text(key) => key,
                Token::Int(key) => key.to_string(),
                _ => return self.unexpected_at(at, "a key"),
            };
            self.expect(":")?;
            entries.push((key, self.expression(0)?));
        }
        Ok(Node::Map(entries))
    }

    fn call(&mut self, name: String, piped: Option<Node>) -> Result<Node, ExprError> {
        let Some(shape) = builtins::shape(&name) else {
            return self.error(format!("unknown function `{name}`"));
        };
        self.expect("(")?;
        let mut arguments: Vec<Node> = piped.into_iter().collect();
        let mut closure = None;
        let mut written = 0;
        while !self.accept(")") {
            if written > 0 {
                self.expect(",")?;
                if self.accept(")") {
                    break;
                }
            }
            written += 1;
            if shape.takes_closure && arguments.len() == 1 && closure.is_none() {
                closure = Some(Box::new(self.closure()?));
            } else {
                arguments.push(self.expression(0)?);
            }
        }
        if shape.needs_closure && closure.is_none() {
            return self.error(format!("`{name}` needs a predicate, such as `# > 0`"));
        }
        Ok(Node::Call { name, arguments, closure })
    }

    fn closure(&mut self) -> Result<Node, ExprError> {
        self.closures += 1;
        let node = if self.is("{") { self.block() } else { self.expression(0) };
        self.closures -= 1;
        node
    }

    fn postfix(&mut self, mut node: Node) -> Result<Node, ExprError> {
        let mut optional_chain = false;
        loop {
            let optional = self.is("?.");
            if optional || self.is(".") {
                self.count()?;
                self.next();
                optional_chain |= optional;
                if optional && self.accept("[") {
                    node = self.bracket(node, true)?;
                    continue;
                }
                let at = self.at;
                let Token::Name(name) = self.next() else {
                    return self.unexpected_at(at, "a field name after `.`");
                };
                node = if self.accept("(") {
                    let arguments = self.list(")")?;
                    Node::Method { base: Box::new(node), name, arguments }
                } else {
                    let key = Box::new(Node::Literal(name.into()));
                    Node::Index { base: Box::new(node), key, optional }
                };
            } else if self.accept("[") {
                self.count()?;
                node = self.bracket(node, false)?;
            } else if optional_chain {
                return Ok(Node::Chain(Box::new(node)));
            } else {
                return Ok(node);
            }
        }
    }

    fn bracket(&mut self, base: Node, optional: bool) -> Result<Node, ExprError> {
        let base = Box::new(base);
        let from = if self.is(":") { None } else { Some(Box::new(self.expression(0)?)) };
        if !self.accept(":") {
            self.expect("]")?;
            let Some(key) = from else { return self.error("expected an index") };
            return Ok(Node::Index { base, key, optional });
        }
        let to = if self.is("]") { None } else { Some(Box::new(self.expression(0)?)) };
        self.expect("]")?;
        Ok(Node::Slice { base, from, to })
    }
}
