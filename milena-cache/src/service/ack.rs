//! When a put is acknowledged, as the wire has it.

use milena_protos::cache_server::Ack as Wire;

use crate::error::{Error, Result};
use crate::operation::Ack;

/// What `ack` asks for, if it asks for something.
pub(super) fn of_wire(ack: Option<i32>) -> Result<Ack> {
    let Some(number) = ack else {
        return Ok(Ack::Default);
    };
    match Wire::try_from(number) {
        Ok(Wire::Default) => Ok(Ack::Default),
        Ok(Wire::Disk) => Ok(Ack::Disk),
        Ok(Wire::S3) => Ok(Ack::S3),
        Err(_) => Err(Error::InvalidInput(format!(
            "ack is {number}; expected 0 (ACK_DEFAULT), 1 (ACK_DISK) or 2 (ACK_S3)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_meaning_and_any_other_is_refused_by_name() {
        assert_eq!(of_wire(None).unwrap(), Ack::Default);
        let known = [0, 1, 2].map(|number| of_wire(Some(number)).unwrap());
        assert_eq!(known, [Ack::Default, Ack::Disk, Ack::S3]);
        let text = of_wire(Some(3)).unwrap_err().to_string();
        assert!(
            text.contains("ack is 3; expected 0 (ACK_DEFAULT)"),
            "{text}"
        );
    }
}
