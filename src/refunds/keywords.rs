//! Word lists that classify the column names and texts of a refund file. The words in each word list are separated by
//! blanks.
//!
//! No word list is complete: a text without any of these words may still deny a refund. Therefore recoup accepts only
//! the simplest texts, and uses the lists to choose the message about the others.

use crate::model::order_text::ordinary;

/// Phrases that deny a full refund.
pub(super) const DENIALS: [&str; 47] = [
    "partial",
    "in part",
    "not refund",
    "no refund",
    "n't refund",
    "not yet refund",
    "without refund",
    "store credit",
    "teilweise",
    "teilerstatt",
    "nicht erstatt",
    "keine erstatt",
    "partiel",
    "pas rembours",
    "parcial",
    "no reembols",
    "parzial",
    "non rimbors",
    "gedeeltelijk",
    "niet terug",
    "not reverse",
    "unrefunded",
    "refund denied",
    "refund declined",
    "refund rejected",
    "refund refused",
    "refund failed",
    "refund pending",
    "refund cancel",
    "refund void",
    "refund revers",
    "refund bounced",
    "never refund",
    "denied refund",
    "declined by",
    "rejected by",
    "partly refunded",
    "open orders",
    "all orders",
    "customer kept",
    "erstattung abgelehnt",
    "keine rückzahlung",
    "pas de remboursement",
    "non remboursé",
    "remboursement refusé",
    "sin reembolso",
    "reembolso rechazado",
];

/// Returns `true` if a text says that an order was not refunded, or not in full.
pub(super) fn denies_refund(text: &str) -> bool {
    if text.len() < 7 {
        return false;
    }
    let plain = plain(text);
    DENIALS.iter().any(|denial| plain.contains(denial))
}

pub(super) const STATUS_NAMES: &str = "status state stage condition paid unpaid refunded returned cancelled canceled voided void captured \
    approved accepted rejected declined resolution outcome result fulfilled fulfillment fulfilment completed success failed \
    disposition decision decisions entscheidung décision decisión esito ok devolución zustand zahlungsstatus bestellstatus erstattet bezahlt storniert statut etat état estado stato situation \
    payé remboursé reembolsado rimborsato betaald terugbetaald stav";
pub(super) const TYPE_NAMES: &str =
    "type kind typ tipo event art belegart transaktionsart buchungsart soort operation operación vorgang";
pub(super) const AMOUNT_NAMES: &str = "amount gross net fee fees price prices subtotal total totals sum value revenue sales cost costs charge \
    charged charges balance tax taxes shipping discount discounts refund refunds payout credit debit tip vat betrag summe brutto \
    netto preis gesamt wert percent percentage share ratio prozent anteil erstattung erstattungsbetrag gebühr steuer umsatz rabatt montant prix importe precio valor importo \
    prezzo bedrag prijs waarde totaal totale commission kosten belopp kwota";
pub(super) const QUANTITY_NAMES: &str = "qty quantity quantities count units pieces items number of menge anzahl stück quantité cantidad \
    quantità aantal antal";
pub(super) const ITEM_NAMES: &str = "sku ware waren carrier tracking warehouse item product products line lineitem variant asin fnsku upc ean barcode artikel produkt position \
    article produit articulo producto articolo prodotto";
pub(super) const DATE_NAMES: &str = "date dates time datetime timestamp created updated processed day month datum zeit uhrzeit tag heure fecha \
    hora data ora tijd";

pub(super) const STATUS_VALUES: &str = "paid unpaid refunded refund refunding partially_refunded partial returned return completed complete \
    pending open closed cancelled canceled failed processing authorized captured voided declined rejected approved shipped fulfilled \
    unfulfilled delivered yes no true false y n active inactive success succeeded expired disputed charge chargeback sale payment \
    payout settled bezahlt offen erstattet storniert abgeschlossen ja nein teilweise remboursé payé oui non pagado reembolsado sí \
    rimborsato pagato betaald terugbetaald nee tak nie zwrócono opłacono igen nem ano zaplaceno kyllä ei да нет возвращён \
    оплачен evet hayır iade sim não pago devolvido reembolsada ναι όχι 是 否 已退款 未退款 はい いいえ 返金済み 未返金 예 아니요 ✓ ✗ ✔ ✘ ✅ ❌";

/// Column values that deny a full refund in any column.
pub(super) const AGAINST_VALUES: &str = "paid unpaid pending open failed processing authorized captured voided declined rejected denied shipped \
    fulfilled unfulfilled delivered completed expired disputed charge sale payment payout no none false bezahlt offen abgelehnt \
    abgeschlossen nein payé non refusé pagado no rechazado pagato rifiutato betaald nee geweigerd";

/// Names of columns that contain free text.
pub(super) const NOTE_NAMES: &str = "note notes notiz notizen comment comments kommentar kommentare bemerkung commentaire \
    comentario commento nota opmerking message memo remark remarks text";

/// Words that may follow the first word in a title of a list of refunds.
const TITLE_WORDS: &str = "of for in from january february march april may june july august september october november december jan feb mar \
    apr jun jul aug sep oct nov dec januar februar märz mai juni juli oktober dezember kw week q1 q2 q3 q4";
/// Words with which a title of a list of refunds may start.
const REFUNDS: &str = "refund refunds erstattung erstattungen rückerstattung rückerstattungen remboursements reembolsos rimborsi \
    terugbetalingen";
/// Words of a total line below a list.
const TOTAL_WORDS: &str = "total totals grand sum summe gesamt gesamtsumme gesamtbetrag endsumme somme totale totaal suma end eof endoffile file \
    of subtotal grandtotal";
/// Words that may accompany the words of a total line.
const UNITS: &str = "usd eur gbp record records s downloaded";

/// Returns `true` if a line outside the table is harmless: above the table, a title that contains only refund words and
/// a period of time; below it, only a total.
pub(super) fn is_plain_title(text: &str) -> bool {
    let is_of = |list: &str, word: &str| list.split_ascii_whitespace().any(|known| known == word);
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    let is_year = |word: &str| word.len() == 4 && word.starts_with("20") && is_number(word);
    // Percent signs, question marks and other symbols may change the meaning of a title.
    let is_simple = |c: char| {
        c.is_alphanumeric() || c.is_whitespace() || matches!(c, ',' | '.' | '-' | '<' | '>' | ':' | '(' | ')')
    };
    let plain = plain(text);
    let Some((first, rest)) = plain.trim_start().split_once(' ').or_else(|| Some((plain.trim(), ""))) else {
        return false;
    };
    let mut rest = rest.split_whitespace();
    let is_title = is_of(REFUNDS, first) && !text.contains('.');
    let is_total = is_of(TOTAL_WORDS, first)
        || (is_number(first) && is_of("record records", rest.clone().next().unwrap_or_default()));
    text.chars().all(is_simple)
        && ((is_title && rest.clone().all(|word| is_of(TITLE_WORDS, word) || is_year(word)))
            || (is_total && rest.all(|word| is_of(TOTAL_WORDS, word) || is_of(UNITS, word) || is_number(word))))
}

/// Converts a text to lower case, removes invisible characters, and replaces each run of punctuation by one blank.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in ordinary(text).chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() || c == '\'' {
            plain.push(c);
        } else if !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    plain
}
