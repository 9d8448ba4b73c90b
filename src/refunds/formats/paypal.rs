//! The format of PayPal's activity download. A refund in a PayPal file has a negative amount and references its
//! payment.
//!
//! PayPal files name transaction types in dozens of languages. A positive PayPal amount of unknown type counts as a
//! payment. A payment can only make a refund smaller. A negative PayPal amount counts as a refund only if its type is a
//! known word for refund.

use super::{Column, Format, RowCells, RowMeaning};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "paypal-activity",
    title: "PayPal activity download",
    grain: "transaction; a refund without an invoice number takes that of the payment it names",
    rule: "the completed refunds of the invoice add up to its payments; without them in the file, to the action's amount",
    sums_payments: true,
    signature: &[TRANSACTION, TYPE, GROSS, INVOICE],
    columns: &[
        (Column::OrderId, INVOICE),
        (Column::Type, TYPE),
        (Column::Status, &["Status", "État", "Etat", "Estado", "Stato"]),
        (Column::Amount, GROSS),
        (Column::Currency, &["Currency", "Währung", "Devise", "Divisa", "Valuta", "Moeda"]),
        (Column::RowId, TRANSACTION),
        (Column::Detail, &["Balance Impact", "Auswirkung auf Guthaben"]),
        (
            Column::Reference,
            &[
                "Reference Txn ID",
                "Zugehöriger Transaktionscode",
                "Numéro de la transaction de référence",
                "Id. de referencia de trans.",
                "Identificador de referencia de la transacción",
                "Codice transazione di riferimento",
                "Transactiereferentie-ID",
                "ID da transação de referência",
            ],
        ),
    ],
    required: &[Column::Type, Column::Status, Column::Amount, Column::Currency],
    signed: true,
    interpret,
    ..Format::BASE
};

const TRANSACTION: &[&str] = &[
    "Transaction ID",
    "Transaktionscode",
    "Numéro de transaction",
    "Id. de transacción",
    "Identificador de la transacción",
    "Codice transazione",
    "Transactiereferentie",
    "ID da transação",
];
const TYPE: &[&str] = &["Type", "Typ", "Tipo"];
const GROSS: &[&str] = &["Gross", "Brutto", "Avant commission", "Brut", "Bruto", "Lordo"];
const INVOICE: &[&str] = &[
    "Invoice Number",
    "Rechnungsnummer",
    "Numéro de facture",
    "Nº de facture",
    "Número de factura",
    "Numero fattura",
    "Numero della fattura",
    "Factuurnummer",
    "Número da fatura",
];

/// Parts of the word *refund* in several languages. A PayPal type that contains a part of *refund* and is not in
/// [`REFUNDS`] is unclear, such as *Failed Refund* or *Fee Refund*.
const REFUND: &[&str] =
    &["refund", "rückzahlung", "rückerstattung", "remboursement", "reembolso", "rimborso", "terugbetaling"];
/// PayPal transaction types by which a customer gets a payment back.
const REFUNDS: &[&str] = &[
    "payment refund",
    "refund",
    "partial refund",
    "rückzahlung",
    "rückerstattung",
    "zahlungsrückerstattung",
    "remboursement",
    "remboursement de paiement",
    "remboursement du paiement",
    "reembolso",
    "reembolso de pago",
    "reembolso del pago",
    "reembolso de pagamento",
    "rimborso",
    "rimborso pagamento",
    "rimborso di pagamento",
    "rimborso del pagamento",
    "terugbetaling",
    "terugbetaling van betaling",
];
/// Parts of PayPal transaction types that do not refund an order.
const OTHER: &[&str] = &[
    "chargeback",
    "reversal",
    "hold",
    "reserve",
    "conversion",
    "fee",
    "withdrawal",
    "dispute",
    "deposit",
    "transfer",
    "rückbuchung",
    "rückbelastung",
    "stornierung",
    "einbehalt",
    "reserve",
    "umrechnung",
    "gebühr",
    "abbuchung",
    "auszahlung",
    "konflikt",
    "käuferbeschwerde",
    "rétrofacturation",
    "annulation",
    "retenue",
    "conversion",
    "commission",
    "virement",
    "contracargo",
    "retención",
    "conversión",
    "comisión",
    "retirada",
    "storno",
    "blocco",
    "conversione",
    "commissione",
    "terugboeking",
    "inhouding",
    "omrekening",
    "kosten",
];
/// Words that PayPal uses for undoing a transaction. A cancelled refund is not a refund.
const UNDO: &[&str] = &["cancel", "storn", "annul", "cancela", "reversal", "rückbuchung"];

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let kind = cells.text(Column::Type).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    if kind.is_empty() {
        return Err(cells.blank(Column::Type));
    }
    let amount = cells.needed(Column::Amount)?;
    match cells.word(Column::Status).as_str() {
        "completed" | "abgeschlossen" | "terminé" | "effectué" | "completado" | "completata" | "completato"
        | "voltooid" | "concluído" => {}
        // PayPal changes the status of a refunded payment to the word *refunded* in the file's language.
        "refunded" | "rückzahlung" | "zurückgezahlt" | "remboursé" | "reembolsado" | "rimborsato" | "terugbetaald"
            if !amount.is_negative() => {}
        "partially refunded"
        | "teilweise zurückgezahlt"
        | "partiellement remboursé"
        | "parcialmente reembolsado"
        | "parzialmente rimborsato"
        | "gedeeltelijk terugbetaald"
            if !amount.is_negative() =>
        {
            return Ok(RowMeaning::PartlyRefundedPayment { charged: amount });
        }
        "denied" | "canceled" | "cancelled" | "expired" | "failed" | "abgelehnt" | "storniert" | "abgebrochen"
        | "refusé" | "annulé" | "rechazado" | "cancelado" | "negato" | "annullato" | "geweigerd" | "geannuleerd" => {
            return Ok(RowMeaning::NoRefund(format!("the transaction is {}", cells.text(Column::Status))));
        }
        _ if has(OTHER) && !has(REFUND) => {}
        _ => return Err(cells.unknown(Column::Status)),
    }
    if has(REFUND) {
        let is_refund = REFUNDS.contains(&kind.trim()) && !has(UNDO);
        return match (is_refund, amount.is_negative()) {
            // A memo line of a PayPal file records no payment.
            (true, true) if matches!(cells.word(Column::Detail).as_str(), "memo" | "vermerk") => {
                Err(cells.unknown(Column::Detail))
            }
            (true, true) => Ok(RowMeaning::Transaction { charged: Decimal::ZERO, refunded: amount.abs() }),
            _ => Err(format!("{:?} of {amount} may undo a refund", cells.text(Column::Type))),
        };
    }
    // A PayPal hold is an amount that PayPal withholds from a refund, or releases.
    let is_hold =
        ["hold", "einbehalt", "retenue", "retención", "blocco", "inhouding"].iter().any(|word| kind.contains(word));
    if has(UNDO) && !amount.is_negative() && !is_hold {
        return Err(format!("{:?} of {amount} may undo a refund", cells.text(Column::Type)));
    }
    if has(OTHER) {
        return Ok(RowMeaning::NoRefund(format!("{:?} is no refund", cells.text(Column::Type))));
    }
    if amount.is_negative() {
        return Err(cells.unknown(Column::Type));
    }
    Ok(RowMeaning::Transaction { charged: amount, refunded: Decimal::ZERO })
}
