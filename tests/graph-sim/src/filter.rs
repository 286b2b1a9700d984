//! `$filter` on directory objects and managed devices.
//!
//! Hides: the grammar, and which operator works on which property plainly or only as an advanced query
//! (<https://learn.microsoft.com/graph/aad-advanced-queries>, table "Support for filter by properties").
//! Deliberately does not: order results, compare properties with each other, or support what Graph does not (`contains`).

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

use crate::object::{Object, Prop};
use crate::reply::Failure;
use crate::schema::{self, Kind, Sheet, Type};

/// The most clauses joined by `or`, or values after `in`.
const CLAUSES: usize = 15;

// Property, operators that work plainly, operators that need an advanced query.
const USERS: &str = "accountEnabled eq,in ne,not; ageGroup eq,in ne,not; assignedLicenses eq not,count; \
    assignedPlans - eq,not; businessPhones - eq,not,ge,le,startsWith; \
    city eq,ge,le,in,startsWith ne,not,null; companyName - eq,ne,not,ge,le,in,startsWith,null; \
    consentProvidedForMinor eq,in ne,not; country eq,ge,le,in,startsWith ne,not,null; \
    createdDateTime eq,ge,le ne,not,in; creationType eq,in ne,not; \
    customSecurityAttributes - ne,not,eq,startsWith; department eq,ge,le,in ne,not,null; \
    displayName eq,ge,le,in,startsWith ne,not,null; employeeHireDate - eq,ne,not,ge,le,in; \
    employeeId eq,ge,le,in,startsWith ne,not,null; employeeLeaveDateTime - ne,not,eq,ge,le,in; \
    employeeOrgData - eq,ne,not,ge,le,in; employeeType - eq,ne,not,ge,le,in,startsWith; \
    externalUserState eq,in ne,not; externalUserStateChangeDateTime - ne,not,eq,in; \
    faxNumber - eq,ne,not,ge,le,in,startsWith,null; givenName eq,ge,le,in,startsWith ne,not,null; \
    identities eq -; imAddresses eq,ge,le,startsWith not; jobTitle eq,ge,le,in,startsWith ne,not,null; \
    mail eq,ge,le,in,startsWith ne,not,endsWith,null; mailNickname eq,ge,le,in,startsWith ne,not,null; \
    mobilePhone - eq,ne,not,ge,le,in,startsWith,null; officeLocation - eq,ne,not,ge,le,in,startsWith,null; \
    onPremisesExtensionAttributes - eq,ne,not,in; onPremisesImmutableId eq,ge,le,in ne,not; \
    onPremisesLastSyncDateTime eq,ge,le,in ne,not; onPremisesProvisioningErrors eq not,ge,le; \
    onPremisesSamAccountName - eq,ne,not,ge,le,in,startsWith; onPremisesSecurityIdentifier - eq; \
    onPremisesSyncEnabled eq,in ne,not,null; onPremisesUserPrincipalName eq,ge,le,in,startsWith ne,not; \
    otherMails eq,ge,le,in,startsWith not,endsWith,count; passwordPolicies - ne,not,null; \
    passwordProfile - eq,ne,not,in,null; postalCode - eq,ne,not,ge,le,in,startsWith,null; \
    preferredLanguage - eq,ne,not,ge,le,in,startsWith,null; provisionedPlans - eq,not,ge,le; \
    proxyAddresses eq,ge,le,startsWith not,endsWith,count; securityIdentifier - not,eq,ge,le,startsWith; \
    serviceProvisioningErrors - not,eq; signInActivity eq,ge,le ne,not; \
    state eq,ge,le,in,startsWith ne,not,null; streetAddress - eq,ne,not,ge,le,in,startsWith,null; \
    surname eq,ge,le,in,startsWith ne,not,null; usageLocation eq,ge,le,in,startsWith ne,not,null; \
    userPrincipalName eq,ge,le,in,startsWith ne,not,endsWith; userType eq,in ne,not,null";

const GROUPS: &str = "assignedLicenses eq -; classification eq,ge,le,startsWith ne,not; \
    description - eq,ne,not,ge,le,startsWith; displayName eq,ge,le,in,startsWith ne,not,null; \
    expirationDateTime - eq,ne,not,ge,le,in; groupTypes - not,eq; hasMembersWithLicenseErrors eq -; \
    isAssignableToRole eq ne,not; mail eq,ge,le,in,startsWith ne,not,null; mailEnabled eq ne,not; \
    mailNickname eq,ge,le,in,startsWith ne,not,null; membershipRule eq,ge,le,startsWith ne,not; \
    membershipRuleProcessingState - ne,not,eq,in; onPremisesLastSyncDateTime eq,ge,le,in ne,not; \
    onPremisesProvisioningErrors eq not; onPremisesSamAccountName - eq,ne,not,ge,le,in,startsWith; \
    onPremisesSecurityIdentifier - eq; onPremisesSyncEnabled eq,in ne,not,null; owners - count; \
    preferredLanguage - eq,ne,not,ge,le,in,startsWith,null; \
    proxyAddresses eq,ge,le,startsWith not,endsWith,count; renewedDateTime eq,ge,le,in ne,not; \
    resourceProvisioningOptions - not,eq,startsWith; securityEnabled eq,in ne,not; \
    serviceProvisioningErrors - not,eq";

const DEVICES: &str = "accountEnabled eq,in ne,not; alternativeSecurityIds - eq,not,ge,le; \
    approximateLastSignInDateTime eq,ge,le ne,not,null; deviceId eq ne,not,startsWith; \
    displayName eq,ge,le,in,startsWith ne,not,null; isCompliant eq ne,not; isManaged eq ne,not; \
    mdmAppId eq ne,not,startsWith; onPremisesLastSyncDateTime eq,ge,le,in ne,not; \
    onPremisesSecurityIdentifier - eq; onPremisesSyncEnabled eq,in ne,not,null; \
    operatingSystem eq,ge,le,startsWith ne,not,null; \
    operatingSystemVersion eq,ge,le,startsWith ne,not,null; physicalIds eq,ge,le,startsWith not,count; \
    systemLabels - count; trustType - ne,not,eq,in";

// The property comments of Microsoft's metadata; which of the operators work plainly is not documented for these.
const PRINCIPALS: &str = "accountEnabled eq ne,not; appId eq,in ne,not; \
    displayName eq,ge,le,in,startsWith ne,not,null; servicePrincipalType eq,in ne,not; \
    tags eq not,ge,le,startsWith";
const APPLICATIONS: &str = "appId eq,in ne,not; displayName eq,ge,le,in,startsWith ne,not,null; \
    identifierUris eq,ge,le,startsWith not; publisherDomain - eq,ne,ge,le,startsWith; \
    signInAudience - eq,ne,not";
const CONTACTS: &str = "companyName - eq,ne,not,ge,le,in,startsWith,null; \
    displayName eq,ge,le,in,startsWith ne,not,null; mail eq,ge,le,in,startsWith ne,not,null; \
    onPremisesSyncEnabled eq ne,not,in,null";
const UNITS: &str = "description eq,ge,le,in,startsWith ne,not,null; displayName eq,ge,le,in,startsWith ne,not,null; \
    visibility eq ne,not";
/// <https://learn.microsoft.com/graph/api/directoryrole-list?view=graph-rest-1.0>
const ROLES: &str = "description eq -; displayName eq -; roleTemplateId eq -";
/// <https://learn.microsoft.com/graph/api/intune-devices-manageddevice-list?view=graph-rest-1.0>
const MANAGED: &str = "azureADDeviceId eq -; complianceState eq,ne -; deviceName eq,startsWith -; lastSyncDateTime eq,ge,le -; \
    managedDeviceOwnerType eq,ne -; operatingSystem eq,startsWith -; serialNumber eq -; userId eq -; userPrincipalName eq -";

const ID: &str = "id eq,in ne,not";

/// A condition that was checked against the tables.
#[derive(Debug)]
pub(crate) struct Filter {
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Test(Path, Test),
    /// A test of the elements of a collection, or of one member of them.
    Any(Path, Option<String>, Test),
    Count(Path, bool, u64),
}

#[derive(Debug)]
struct Path {
    root: Prop,
    inner: Vec<String>,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(Value),
    NotEqual(Value),
    AtLeast(Value),
    AtMost(Value),
    In(Vec<Value>),
    Starts(String),
    Ends(String),
}

impl Test {
    fn operator(&self) -> &'static str {
        match self {
            Self::Equal(_) => "eq",
            Self::NotEqual(_) => "ne",
            Self::AtLeast(_) => "ge",
            Self::AtMost(_) => "le",
            Self::In(_) => "in",
            Self::Starts(_) => "startsWith",
            Self::Ends(_) => "endsWith",
        }
    }

    fn against_null(&self) -> bool {
        matches!(self, Self::Equal(Value::Null) | Self::NotEqual(Value::Null))
    }

    fn holds(&self, value: &Value) -> bool {
        let text = |value: &Value| value.as_str().map(str::to_lowercase);
        let equal = |wanted: &Value| match (text(value), text(wanted)) {
            (Some(value), Some(wanted)) => value == wanted,
            _ => value == wanted,
        };
        match self {
            Self::Equal(wanted) => equal(wanted),
            Self::NotEqual(wanted) => !equal(wanted),
            Self::AtLeast(wanted) => text(value).is_some_and(|value| Some(value) >= text(wanted)),
            Self::AtMost(wanted) => text(value).is_some_and(|value| Some(value) <= text(wanted)),
            Self::In(list) => list.iter().any(equal),
            Self::Starts(start) => text(value).is_some_and(|value| value.starts_with(&start.to_lowercase())),
            Self::Ends(end) => text(value).is_some_and(|value| value.ends_with(&end.to_lowercase())),
        }
    }
}

impl Filter {
    /// Reads and checks a filter; `advanced` says that the request is an advanced query.
    pub fn parse(text: &str, subject: impl Into<Subject>, advanced: bool) -> Result<Self, Failure> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, subject: subject.into(), advanced, text, clauses: 1 };
        let condition = parser.or()?;
        if parser.at < parser.tokens.len() {
            return Err(parser.syntax());
        }
        if parser.clauses > CLAUSES {
            return Err(too_many(parser.clauses));
        }
        Ok(Self { condition })
    }

    /// Whether an object meets it.
    pub fn matches(&self, object: &Object) -> bool {
        self.condition.matches(object)
    }
}

fn too_many(clauses: usize) -> Failure {
    Failure::unsupported(format!(
        "Too many child clauses specified in search filter expression containing 'OR' operators: {clauses}. Max allowed: {CLAUSES}."
    ))
}

impl Condition {
    fn matches(&self, object: &Object) -> bool {
        match self {
            Self::And(a, b) => a.matches(object) && b.matches(object),
            Self::Or(a, b) => a.matches(object) || b.matches(object),
            Self::Not(inner) => !inner.matches(object),
            Self::Test(path, test) => test.holds(&path.value(object)),
            Self::Any(path, member, test) => {
                path.value(object).as_array().into_iter().flatten().any(|element| match member {
                    Some(name) => test.holds(&element[name]),
                    None => test.holds(element),
                })
            }
            Self::Count(path, equal, count) => {
                let length = path.value(object).as_array().map_or(0, |list| list.len() as u64);
                (length == *count) == *equal
            }
        }
    }
}

impl Path {
    fn value(&self, object: &Object) -> Value {
        self.inner.iter().fold(object.value(self.root), |value, name| value[name].clone())
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, Failure> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&next) = chars.peek() {
        match next {
            ' ' => _ = chars.next(),
            '(' | ')' | ',' => {
                tokens.push(Token::Mark(next));
                chars.next();
            }
            '\'' => tokens.push(Token::Text(quoted(&mut chars).ok_or_else(|| invalid(text))?)),
            _ => {
                let mut word = String::new();
                while let Some(part) = chars.next_if(|part| !matches!(part, ' ' | '(' | ')' | ',' | '\'')) {
                    word.push(part);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    chars.next();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_none() => return Some(text),
            other => text.push(other),
        }
    }
}

fn invalid(text: &str) -> Failure {
    Failure::bad_request(format!("Invalid filter clause: There is a syntax error in '{text}'."))
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    subject: Subject,
    advanced: bool,
    text: &'a str,
    clauses: usize,
}

impl Parser<'_> {
    fn syntax(&self) -> Failure {
        invalid(self.text)
    }

    fn next(&mut self) -> Result<Token, Failure> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(|| self.syntax())?;
        self.at += 1;
        Ok(token)
    }

    fn word(&mut self) -> Result<String, Failure> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            _ => Err(self.syntax()),
        }
    }

    fn mark(&mut self, mark: char) -> Result<(), Failure> {
        if self.next()? == Token::Mark(mark) { Ok(()) } else { Err(self.syntax()) }
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Condition, Failure> {
        let mut left = self.and()?;
        while self.take(&Token::Word("or".into())) {
            self.clauses += 1;
            left = Condition::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Condition, Failure> {
        let mut left = self.one()?;
        while self.take(&Token::Word("and".into())) {
            left = Condition::And(left.into(), self.one()?.into());
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Condition, Failure> {
        if self.take(&Token::Word("not".into())) {
            if !self.advanced {
                return Err(Failure::unsupported(
                    "Operator 'Not' is not supported because the required parameters might be missing. Refer to https://aka.ms/graph-docs/advanced-queries for more information",
                ));
            }
            return Ok(Condition::Not(self.one()?.into()));
        }
        if self.take(&Token::Mark('(')) {
            let inner = self.or()?;
            self.mark(')')?;
            return Ok(inner);
        }
        let word = self.word()?;
        if let Some(condition) = self.function(&word)? {
            return Ok(condition);
        }
        if let Some(path) = word.strip_suffix("/any") {
            return self.any(path);
        }
        if let Some(path) = word.strip_suffix("/$count") {
            let (equal, number) = (self.word()?, self.word()?);
            let path = self.path(path, "count", false)?;
            let number = number.parse().map_err(|_| self.syntax())?;
            return Ok(Condition::Count(path, equal == "eq", number));
        }
        let test = self.comparison()?;
        let path = self.path(&word, test.operator(), test.against_null())?;
        Ok(Condition::Test(path, test))
    }

    /// `startswith(path,'text')` and `endswith(path,'text')`.
    fn function(&mut self, word: &str) -> Result<Option<Condition>, Failure> {
        let Some((path, test)) = self.call(word)? else { return Ok(None) };
        let path = self.path(&path, test.operator(), false)?;
        Ok(Some(Condition::Test(path, test)))
    }

    fn call(&mut self, word: &str) -> Result<Option<(String, Test)>, Failure> {
        let starts = match word.to_lowercase().as_str() {
            "startswith" => true,
            "endswith" => false,
            "contains" => {
                let message = "Filter operator 'Contains' is not supported.";
                return Err(Failure::unsupported(message));
            }
            _ => return Ok(None),
        };
        self.mark('(')?;
        let path = self.word()?;
        self.mark(',')?;
        let Token::Text(text) = self.next()? else { return Err(self.syntax()) };
        self.mark(')')?;
        Ok(Some((path, if starts { Test::Starts(text) } else { Test::Ends(text) })))
    }

    /// `path/any(x:x eq 'text')`, `path/any(x:x/member eq 'text')`, `path/any(x:startswith(x,'text'))`.
    fn any(&mut self, path: &str) -> Result<Condition, Failure> {
        self.mark('(')?;
        let lambda = self.word()?;
        let (variable, first) = lambda.split_once(':').ok_or_else(|| self.syntax())?;
        let first = if first.is_empty() { self.word()? } else { first.to_owned() };
        let (subject, test) = match self.call(&first)? {
            Some(call) => call,
            None => (first, self.comparison()?),
        };
        self.mark(')')?;
        let member = match subject.strip_prefix(variable) {
            Some("") => None,
            Some(rest) => Some(rest.strip_prefix('/').ok_or_else(|| self.syntax())?.to_owned()),
            None => return Err(self.syntax()),
        };
        let path = self.path(path, test.operator(), false)?;
        Ok(Condition::Any(path, member, test))
    }

    fn comparison(&mut self) -> Result<Test, Failure> {
        Ok(match self.word()?.as_str() {
            "eq" => Test::Equal(self.literal()?),
            "ne" => Test::NotEqual(self.literal()?),
            "ge" => Test::AtLeast(self.literal()?),
            "le" => Test::AtMost(self.literal()?),
            "in" => {
                self.mark('(')?;
                let mut list = vec![self.literal()?];
                while self.take(&Token::Mark(',')) {
                    list.push(self.literal()?);
                }
                self.mark(')')?;
                if list.len() > CLAUSES {
                    return Err(too_many(list.len()));
                }
                Test::In(list)
            }
            _ => return Err(Failure::unsupported(format!("Unsupported Query in '{}'.", self.text))),
        })
    }

    fn literal(&mut self) -> Result<Value, Failure> {
        Ok(match self.next()? {
            Token::Text(text) => text.into(),
            Token::Word(word) => match word.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                "null" => Value::Null,
                number => number.parse::<i64>().map_or_else(|_| number.into(), Value::from),
            },
            Token::Mark(_) => return Err(self.syntax()),
        })
    }

    /// A property path, if the operator is supported on it the way it was asked.
    fn path(&self, text: &str, operator: &str, null: bool) -> Result<Path, Failure> {
        let mut names = text.split('/');
        let name = names.next().unwrap_or_default();
        let type_name = self.subject.name();
        let unknown = || {
            let message = format!("Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'.");
            Failure::new(400, "BadRequest", format!("Invalid filter clause: {message}"))
        };
        let property = self.subject.properties().property(name).ok_or_else(unknown)?;
        let wanted = if null { "null" } else { operator };
        let row = self.subject.table().get(name);
        let plain = row.is_some_and(|(plain, _)| plain.contains(&wanted)) || plainly_any(self.subject, name, operator);
        let advanced = self.advanced && row.is_some_and(|(_, advanced)| advanced.contains(&wanted));
        if !plain && !advanced {
            return Err(Failure::unsupported(format!(
                "Unsupported or invalid query filter clause specified for property '{name}' of resource '{type_name}'."
            )));
        }
        Ok(Path { root: property.prop, inner: names.map(str::to_owned).collect() })
    }
}

/// Printed on the list pages as working without further ado, whatever the table says.
/// <https://learn.microsoft.com/graph/api/group-list?view=graph-rest-1.0>
fn plainly_any(subject: Subject, name: &str, operator: &str) -> bool {
    subject == Subject::Kind(Kind::Group) && name == "groupTypes" && operator == "eq"
}

type Table = HashMap<&'static str, (Vec<&'static str>, Vec<&'static str>)>;

/// What is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Kind(Kind),
    Sheet(Sheet),
}

impl From<Kind> for Subject {
    fn from(kind: Kind) -> Self {
        Self::Kind(kind)
    }
}

impl From<Sheet> for Subject {
    fn from(sheet: Sheet) -> Self {
        Self::Sheet(sheet)
    }
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.name(),
            Self::Sheet(sheet) => sheet.name(),
        }
    }

    fn properties(self) -> &'static Type {
        match self {
            Self::Kind(kind) => schema::of(kind),
            Self::Sheet(sheet) => sheet.properties(),
        }
    }

    fn table(self) -> &'static Table {
        static KINDS: OnceLock<[Table; Kind::ALL.len()]> = OnceLock::new();
        static SHEETS: OnceLock<Table> = OnceLock::new();
        match self {
            Self::Kind(kind) => {
                let tables = [USERS, GROUPS, DEVICES, CONTACTS, PRINCIPALS, UNITS, ROLES, APPLICATIONS];
                &KINDS.get_or_init(|| tables.map(rows))[kind as usize]
            }
            // Of these, Graph filters managedDevices only.
            Self::Sheet(_) => SHEETS.get_or_init(|| rows(MANAGED)),
        }
    }
}

fn rows(table: &'static str) -> Table {
    let row = |row: &'static str| {
        let mut parts = row.split_whitespace();
        let name = parts.next().unwrap_or_default();
        let mut list = || parts.next().unwrap_or_default().split(',').collect::<Vec<_>>();
        (name, (list(), list()))
    };
    table.split(';').chain([ID]).map(row).collect()
}
