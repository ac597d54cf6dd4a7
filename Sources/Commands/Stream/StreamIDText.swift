// Stream IDs as clients write them: `ms-seq`, `ms` alone, `ms-*` for XADD, `-` and `+` for the
// ends, `(` before what is not part of an interval.
import Base
import Engine
import RESP
import Storage

/// An ID as it was given.
struct StreamIDText {
    var id: StreamID
    /// False for `ms-*`.
    var hasSequence = true

    /// nil when the text is no ID. `missing` is the sequence number of an ID that has none.
    init?(
        _ text: Bytes, missing: UInt64 = 0, takesEnds: Bool = false, takesAutomatic: Bool = false
    ) {
        guard text.count > 0, text.count < 128 else { return nil }
        if takesEnds, text.count == 1, text[0] == UInt8(ascii: "-") {
            id = .zero
            return
        }
        if takesEnds, text.count == 1, text[0] == UInt8(ascii: "+") {
            id = .highest
            return
        }
        var dash = 0
        while dash < text.count, text[dash] != UInt8(ascii: "-") { dash += 1 }
        guard let ms = text[0..<dash].unsigned else { return nil }
        id = StreamID(ms, missing)
        guard dash < text.count else { return }
        let rest = text[(dash + 1)..<text.count]
        if takesAutomatic, rest == "*" {
            id.seq = 0
            hasSequence = false
        } else if let seq = rest.unsigned {
            id.seq = seq
        } else {
            return nil
        }
    }
}

extension Bytes {
    /// The value of an unsigned decimal of 64 bits, leading zeros allowed.
    fileprivate var unsigned: UInt64? {
        guard count > 0 else { return nil }
        var value: UInt64 = 0
        for index in 0..<count {
            let digit = base[index] &- 48
            guard digit < 10 else { return nil }
            let (high, low) = value.multipliedFullWidth(by: 10)
            let (sum, carry) = low.addingReportingOverflow(UInt64(digit))
            guard high == 0, !carry else { return nil }
            value = sum
        }
        return value
    }
}

extension Call {
    static var invalidStreamID: ErrorReply {
        ErrorReply("ERR Invalid stream ID specified as stream command argument")
    }

    /// The ID at `index`; nil after an error reply.
    func streamIDOrReply(_ index: Int, takesEnds: Bool = false) -> StreamID? {
        if let text = StreamIDText(self[index], takesEnds: takesEnds) { return text.id }
        reply.error(Call.invalidStreamID)
        return nil
    }

    /// The first ID of an interval that begins at argument `index`; nil after an error reply.
    func intervalStartOrReply(_ index: Int) -> StreamID? {
        guard let (id, isOpen) = intervalEndOrReply(index, missing: 0) else { return nil }
        guard isOpen else { return id }
        if let next = id.next { return next }
        reply.error(ErrorReply("ERR invalid start ID for the interval"))
        return nil
    }

    /// The last ID of an interval that ends at argument `index`; nil after an error reply.
    func intervalEndOrReply(_ index: Int) -> StreamID? {
        guard let (id, isOpen) = intervalEndOrReply(index, missing: .max) else { return nil }
        guard isOpen else { return id }
        if let previous = id.previous { return previous }
        reply.error(ErrorReply("ERR invalid end ID for the interval"))
        return nil
    }

    private func intervalEndOrReply(
        _ index: Int, missing: UInt64
    ) -> (id: StreamID, isOpen: Bool)? {
        let text = self[index]
        let isOpen = text.count > 1 && text[0] == UInt8(ascii: "(")
        let rest = isOpen ? text[1..<text.count] : text
        if let parsed = StreamIDText(rest, missing: missing, takesEnds: !isOpen) {
            return (parsed.id, isOpen)
        }
        reply.error(Call.invalidStreamID)
        return nil
    }
}
