//! The 27 activities of the process, and the order that the log shows them to keep.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{
        IntoDeserializer as _,
        value::{self, StrDeserializer},
    },
};

/// A step of the process, named as in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Activity {
    #[serde(rename = "Confirmation of receipt")]
    ConfirmReceipt,
    #[serde(rename = "T02 Check confirmation of receipt")]
    CheckConfirmation,
    #[serde(rename = "T03 Adjust confirmation of receipt")]
    AdjustConfirmation,
    #[serde(rename = "T04 Determine confirmation of receipt")]
    DetermineConfirmation,
    #[serde(rename = "T05 Print and send confirmation of receipt")]
    SendConfirmation,
    #[serde(rename = "T06 Determine necessity of stop advice")]
    DetermineStopAdvice,
    #[serde(rename = "T07-1 Draft intern advice aspect 1")]
    DraftAdvice1,
    #[serde(rename = "T07-2 Draft intern advice aspect 2")]
    DraftAdvice2,
    #[serde(rename = "T07-3 Draft intern advice hold for aspect 3")]
    DraftAdvice3,
    #[serde(rename = "T07-4 Draft internal advice to hold for type 4")]
    DraftAdvice4,
    #[serde(rename = "T07-5 Draft intern advice aspect 5")]
    DraftAdvice5,
    #[serde(rename = "T08 Draft and send request for advice")]
    RequestAdvice,
    #[serde(rename = "T09-1 Process or receive external advice from party 1")]
    ReceiveAdvice1,
    #[serde(rename = "T09-2 Process or receive external advice from party 2")]
    ReceiveAdvice2,
    #[serde(rename = "T09-3 Process or receive external advice from party 3")]
    ReceiveAdvice3,
    #[serde(rename = "T09-4 Process or receive external advice from party 4")]
    ReceiveAdvice4,
    #[serde(rename = "T10 Determine necessity to stop indication")]
    DetermineStopIndication,
    #[serde(rename = "T11 Create document X request unlicensed")]
    CreateUnlicensed,
    #[serde(rename = "T12 Check document X request unlicensed")]
    CheckUnlicensed,
    #[serde(rename = "T13 Adjust document X request unlicensed")]
    AdjustUnlicensed,
    #[serde(rename = "T14 Determine document X request unlicensed")]
    DetermineUnlicensed,
    #[serde(rename = "T15 Print document X request unlicensed")]
    PrintUnlicensed,
    #[serde(rename = "T16 Report reasons to hold request")]
    ReportHold,
    #[serde(rename = "T17 Check report Y to stop indication")]
    CheckHold,
    // The log misspells it.
    #[serde(rename = "T18 Adjust report Y to stop indicition")]
    AdjustHold,
    #[serde(rename = "T19 Determine report Y to stop indication")]
    DetermineHold,
    #[serde(rename = "T20 Print report Y to stop indication")]
    PrintHold,
}

/// How far a case has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The application is in, its receipt is being confirmed.
    Receipt,
    /// Advice is asked for and weighed.
    Advice,
    /// It is determined whether the request must be stopped.
    Determined,
    /// The request is being answered as one that needs no licence.
    Unlicensed,
    /// The request is being held.
    Hold,
}

impl Activity {
    /// The activity that the log names so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, value::Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }

    /// The phase that this step brings a case to.
    pub(crate) const fn phase(self) -> Phase {
        match self {
            Self::ConfirmReceipt
            | Self::CheckConfirmation
            | Self::AdjustConfirmation
            | Self::DetermineConfirmation
            | Self::SendConfirmation => Phase::Receipt,
            Self::DetermineStopAdvice
            | Self::DraftAdvice1
            | Self::DraftAdvice2
            | Self::DraftAdvice3
            | Self::DraftAdvice4
            | Self::DraftAdvice5
            | Self::RequestAdvice
            | Self::ReceiveAdvice1
            | Self::ReceiveAdvice2
            | Self::ReceiveAdvice3
            | Self::ReceiveAdvice4 => Phase::Advice,
            Self::DetermineStopIndication => Phase::Determined,
            Self::CreateUnlicensed
            | Self::CheckUnlicensed
            | Self::AdjustUnlicensed
            | Self::DetermineUnlicensed
            | Self::PrintUnlicensed => Phase::Unlicensed,
            Self::ReportHold
            | Self::CheckHold
            | Self::AdjustHold
            | Self::DetermineHold
            | Self::PrintHold => Phase::Hold,
        }
    }

    /// The step that must have been done before this one; every case of the log keeps to it.
    pub(crate) const fn needs(self) -> Option<Self> {
        match self {
            Self::ConfirmReceipt => None,
            Self::CheckConfirmation | Self::DetermineStopAdvice => Some(Self::ConfirmReceipt),
            Self::AdjustConfirmation | Self::DetermineConfirmation | Self::SendConfirmation => {
                Some(Self::CheckConfirmation)
            }
            Self::DraftAdvice1
            | Self::DraftAdvice2
            | Self::DraftAdvice3
            | Self::DraftAdvice4
            | Self::DraftAdvice5
            | Self::RequestAdvice
            | Self::DetermineStopIndication => Some(Self::DetermineStopAdvice),
            Self::ReceiveAdvice1
            | Self::ReceiveAdvice2
            | Self::ReceiveAdvice3
            | Self::ReceiveAdvice4 => Some(Self::RequestAdvice),
            Self::CreateUnlicensed | Self::ReportHold => Some(Self::DetermineStopIndication),
            Self::CheckUnlicensed => Some(Self::CreateUnlicensed),
            Self::AdjustUnlicensed | Self::DetermineUnlicensed => Some(Self::CheckUnlicensed),
            Self::PrintUnlicensed => Some(Self::DetermineUnlicensed),
            Self::CheckHold => Some(Self::ReportHold),
            Self::AdjustHold | Self::DetermineHold => Some(Self::CheckHold),
            Self::PrintHold => Some(Self::DetermineHold),
        }
    }

    /// Whether a case takes this step once at most, as every case of the log does.
    pub(crate) const fn is_done_once(self) -> bool {
        matches!(
            self,
            Self::ConfirmReceipt
                | Self::SendConfirmation
                | Self::DetermineStopIndication
                | Self::CreateUnlicensed
                | Self::DetermineUnlicensed
                | Self::PrintUnlicensed
                | Self::ReportHold
                | Self::DetermineHold
                | Self::PrintHold
        )
    }
}

/// Writes the name of the log, which serde knows.
impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Receipt => "receipt",
            Self::Advice => "advice",
            Self::Determined => "determined",
            Self::Unlicensed => "unlicensed",
            Self::Hold => "hold",
        })
    }
}
