//! Parses GraphQL queries about rewards: one operation with variables, arguments, aliases and selections.
//!
//! The GraphQL parser is hand-written, because every published parser would add a second version of an existing
//! dependency. The GraphQL parser rejects fragments, directives and block strings with a message. The GraphQL parser
//! does not know the schema.

use serde_json::{Map, Number, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    Mutation,
    Subscription,
}

#[derive(Debug, PartialEq)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) fields: Vec<Field>,
}

/// One selected field of a GraphQL query, with its variables replaced. A field lacks an argument if the request has no
/// value for the argument's variable.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    /// The name of the GraphQL field in the response.
    pub(super) alias: String,
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    pub(super) fields: Vec<Field>,
}

/// Maximum nesting of selections and values in a GraphQL query.
const DEPTH: usize = 32;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Mark(char),
    Name(String),
    Text(String),
    Number(String),
    Spread,
}

/// Parses a GraphQL document with its variables. The parse error is the message for the client.
pub(super) fn parse(text: &str, variables: &Map<String, Value>) -> Result<Operation, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, variables: variables.clone(), declared: Vec::new() };
    let operation = parser.operation()?;
    match parser.peek() {
        None => Ok(operation),
        Some(_) => Err("Syntax Error: only one operation without fragments is understood here.".to_owned()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(next) = rest.peek().copied() {
        match next {
            ' ' | '\t' | '\n' | '\r' | ',' => drop(rest.next()),
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '$' | '!' | '=' | '@' => {
                rest.next();
                tokens.push(Token::Mark(next));
            }
            '.' => {
                while rest.next_if_eq(&'.').is_some() {}
                tokens.push(Token::Spread);
            }
            '"' => {
                rest.next();
                tokens.push(Token::Text(string(&mut rest)?));
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let mut name = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                tokens.push(Token::Name(name));
            }
            '-' | '0'..='9' => {
                let mut number = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E')) {
                    number.push(c);
                }
                tokens.push(Token::Number(number));
            }
            other => return Err(format!("Syntax Error: unexpected character {other:?}.")),
        }
    }
    Ok(tokens)
}

fn string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut raw = String::from("\"");
    loop {
        match rest.next() {
            Some('"') => break,
            Some('\\') => {
                raw.push('\\');
                raw.extend(rest.next());
            }
            Some(c) if c != '\n' => raw.push(c),
            _ => return Err("Syntax Error: unterminated string.".to_owned()),
        }
    }
    raw.push('"');
    // GraphQL strings have the escapes of JSON.
    serde_json::from_str(&raw).map_err(|error| format!("Syntax Error: a string cannot be read ({error})."))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    variables: Map<String, Value>,
    declared: Vec<String>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, mark: char) -> bool {
        let is = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(is);
        is
    }

    fn need(&mut self, mark: char) -> Result<(), String> {
        if self.take(mark) { Ok(()) } else { Err(self.unexpected(&format!("{mark:?}"))) }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.peek() {
            Some(Token::Spread) => "Syntax Error: fragments are not understood here.".to_owned(),
            Some(Token::Mark('@')) => "Syntax Error: directives are not understood here.".to_owned(),
            Some(found) => format!("Syntax Error: expected {wanted}, found {found:?}."),
            None => format!("Syntax Error: expected {wanted}, found the end."),
        }
    }

    fn operation(&mut self) -> Result<Operation, String> {
        let mut kind = Kind::Query;
        if let Some(Token::Name(word)) = self.peek() {
            kind = match word.as_str() {
                "query" => Kind::Query,
                "mutation" => Kind::Mutation,
                "subscription" => Kind::Subscription,
                _ => return Err(self.unexpected("an operation")),
            };
            self.at += 1;
            if matches!(self.peek(), Some(Token::Name(_))) {
                self.at += 1;
            }
            if self.take('(') {
                while !self.take(')') {
                    self.declaration()?;
                }
            }
        }
        Ok(Operation { kind, fields: self.selection(0)? })
    }

    /// Parses the declaration of a GraphQL variable: `$name: Type! = default`.
    fn declaration(&mut self) -> Result<(), String> {
        self.need('$')?;
        let name = self.name()?;
        self.need(':')?;
        while self.take('[') {}
        let kind = self.name()?;
        let mut required = self.take('!');
        while self.take(']') {
            required = self.take('!');
        }
        if self.take('=') {
            let value = self.value(0)?.unwrap_or_default();
            self.variables.entry(name.clone()).or_insert(value);
        } else if required && self.variables.get(&name).is_none_or(Value::is_null) {
            return Err(format!("Variable \"${name}\" of required type \"{kind}!\" was not provided."));
        }
        self.declared.push(name);
        Ok(())
    }

    fn selection(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        if depth > DEPTH {
            return Err("The query is nested too deeply.".to_owned());
        }
        self.need('{')?;
        let mut fields = Vec::new();
        while !self.take('}') {
            let mut name = self.name()?;
            let alias = name.clone();
            if self.take(':') {
                name = self.name()?;
            }
            let mut arguments = Map::new();
            if self.take('(') {
                while !self.take(')') {
                    let argument = self.name()?;
                    self.need(':')?;
                    if let Some(value) = self.value(0)? {
                        arguments.insert(argument, value);
                    }
                }
            }
            let inner = if self.peek() == Some(&Token::Mark('{')) { self.selection(depth + 1)? } else { Vec::new() };
            fields.push(Field { alias, name, arguments, fields: inner });
        }
        if fields.is_empty() { Err("Syntax Error: an empty selection.".to_owned()) } else { Ok(fields) }
    }

    /// Parses a value in a GraphQL document. Returns `None` for a variable that has no value in the request.
    fn value(&mut self, depth: usize) -> Result<Option<Value>, String> {
        if depth > DEPTH {
            return Err("A value is nested too deeply.".to_owned());
        }
        if self.take('$') {
            let name = self.name()?;
            if !self.declared.contains(&name) {
                return Err(format!("Variable \"${name}\" is not defined."));
            }
            return Ok(self.variables.get(&name).cloned());
        }
        if self.take('[') {
            let mut list = Vec::new();
            while !self.take(']') {
                list.push(self.value(depth + 1)?.unwrap_or_default());
            }
            return Ok(Some(Value::Array(list)));
        }
        if self.take('{') {
            let mut object = Map::new();
            while !self.take('}') {
                let key = self.name()?;
                self.need(':')?;
                if let Some(value) = self.value(depth + 1)? {
                    object.insert(key, value);
                }
            }
            return Ok(Some(Value::Object(object)));
        }
        let value = match self.peek() {
            Some(Token::Text(text)) => Value::String(text.clone()),
            Some(Token::Number(number)) => {
                let number: Number =
                    number.parse().map_err(|error| format!("Syntax Error: {number} is no number ({error})."))?;
                Value::Number(number)
            }
            Some(Token::Name(name)) => match name.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                // In GraphQL, a name without quotes is an enum value.
                _ => Value::String(name.clone()),
            },
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "tests read better with the value in place")]
    fn read(text: &str, variables: Value) -> Result<Operation, String> {
        parse(text, variables.as_object().expect("an object"))
    }

    #[test]
    fn arguments_aliases_variables_and_defaults_are_read() {
        let text = "query Q($filter: F, $limit: Int! = 7, $ids: [ID!]! = [\"a\", \"b\"]) { # a comment\n \
                    all: rewards(filter: $filter, limit: $limit, sortBy: [{field: \"x\", order: ASC}], offset: -1) \
                    { data { id, type } totalCount } one: reward(id: $ids) { id } }";
        let operation = read(text, json!({"limit": 9})).expect("it parses");
        assert_eq!(operation.kind, Kind::Query);
        let all = &operation.fields[0];
        assert_eq!((all.alias.as_str(), all.name.as_str()), ("all", "rewards"));
        let expected = json!({"limit": 9, "offset": -1, "sortBy": [{"field": "x", "order": "ASC"}]});
        assert_eq!(Value::Object(all.arguments.clone()), expected, "a variable that is not sent is no argument");
        assert_eq!(all.fields[0].fields[1].name, "type");
        assert_eq!(operation.fields[1].arguments["id"], json!(["a", "b"]));
        assert_eq!(read("{a}", json!({})).expect("the short form").fields[0].name, "a");
        assert_eq!(read("mutation { a }", json!({})).expect("it parses").kind, Kind::Mutation);
        assert_eq!(
            read(r#"{a(t: "\u00e9\"\n")}"#, json!({})).expect("escapes").fields[0].arguments["t"],
            json!("é\"\n")
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, says) in [
            ("", "the end"),
            ("{", "a name"),
            ("{}", "empty"),
            ("{a(x: $y)}", "not defined"),
            ("query($y: Int!) {a(x: $y)}", "not provided"),
            ("{...F}", "fragments"),
            ("{a @skip(if: true)}", "directives"),
            ("{a} {b}", "only one"),
            ("{a(x: \"unterminated)}", "unterminated"),
            ("{a(x: 1-2)}", "no number"),
            ("fragment F on T {a}", "an operation"),
            ("{a ~}", "character"),
        ] {
            let refused = read(text, json!({})).expect_err(text);
            assert!(refused.contains(says), "{text}: {refused}");
        }
        let deep = "{a".repeat(100_000);
        assert!(read(&deep, json!({})).is_err());
        let deep = format!("{{a(x: {}", "[".repeat(100_000));
        assert!(read(&deep, json!({})).is_err());
    }
}
