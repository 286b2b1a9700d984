//! stub
use crate::graph::Request;
use crate::reply::{Failure, Reply};
use crate::schema::Kind;
impl Request<'_> {
    pub fn delta(&self, _: Kind) -> Result<Reply, Failure> {
        Err(Failure::bad_request("delta"))
    }
}
