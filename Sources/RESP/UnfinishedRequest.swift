// What CLIENT LIST shows of a request that has not come as a whole: the reference takes arguments
// out of the query buffer one by one, and so counts them apart (`argv-mem`) from what is left in it
// (`qbuf`). Here a request stays where it is until it is complete.
import Base

extension Bytes {
    /// Of a request that is not complete: the bytes of the arguments that are, and of the one that
    /// is on its way. An inline request is on its way as a whole.
    public var unfinishedRequest: (arguments: Int, rest: Int) {
        guard count > 0, self[0] == UInt8(ascii: "*") else { return (0, count) }
        var position = 0
        /// The number of a line `*n` or `$n`; moves behind it. Nil when the line is not whole.
        func header() -> Int? {
            var end = position
            while end < count, self[end] != 10 { end += 1 }
            guard end < count, end > position + 1, self[end - 1] == 13 else { return nil }
            guard let value = self[(position + 1)..<(end - 1)].decimal, value >= 0 else {
                return nil
            }
            position = end + 1
            return Int(value)
        }
        guard header() != nil else { return (0, count) }
        var arguments = 0
        while position < count, self[position] == UInt8(ascii: "$"), let length = header() {
            guard length <= count - position - 2 else { break }
            arguments += length
            position += length + 2
        }
        return (arguments, count - position)
    }
}
