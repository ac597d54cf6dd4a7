// LOLWUT: computer art, as versions 5 and 6 of the reference draw it, and the version. Version 5 is
// Schotter by Georg Nees: squares that lose their order from row to row. Version 6 is a skyline
// from the time of 8-bit games. Sizes are bounded, so that fun stays cheap.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerLolwutCommand() {
        command(
            "lolwut", since: "5.0.0", arity: -1, [.readonly, .fast],
            syntax: "[VERSION version:integer]",
            summary: "Display some computer art and the Redis version"
        ) { lolwut(Call($0)) }
    }
}

private func lolwut(_ call: Call) {
    var version: UInt32 = 0
    var first = 1
    if call.count >= 3, call[1].matches("version") {
        guard let value = call.integerOrReply(2) else { return }
        version = UInt32(truncatingIfNeeded: value)
        first = 3
    }
    var prng = Prng(seed: call.executor.pointee.prng.next())
    let product = "Redis ver. \(Product.redisVersion)\n"
    switch version {
    case 5:
        guard let sizes = sizesOrReply(call, from: first, [(66, 1000), (8, 200), (12, 200)])
        else { return }
        let canvas = Canvas.schotter(
            columns: sizes[0], perRow: sizes[1], rows: sizes[2], &prng)
        let title = "\nGeorg Nees - schotter, plotter on paper, 1968. "
        call.reply.verbatim(canvas.braille + title + product)
    case 6:
        guard let sizes = sizesOrReply(call, from: first, [(80, 1000), (20, 1000)]) else { return }
        var canvas = Canvas(width: sizes[0], height: sizes[1], color: 3)
        canvas.drawSkyline(&prng)
        let title = """

            Dedicated to the 8 bit game developers of past and present.
            Original 8 bit image from Plaguemon by hikikomori.\u{20}
            """
        call.reply.verbatim(canvas.grayscale + title + product)
    default:
        call.reply.verbatim(product)
    }
}

/// Optional numbers from argument `first` on, each with its default and its limit; nil after an
/// error reply.
private func sizesOrReply(
    _ call: Call, from first: Int, _ sizes: [(standard: Int, limit: Int)]
) -> [Int]? {
    var out: [Int] = []
    for (index, size) in sizes.enumerated() {
        guard first + index < call.count else {
            out.append(size.standard)
            continue
        }
        guard let value = call.integerOrReply(first + index) else { return nil }
        out.append(Int(min(max(value, 1), Int64(size.limit))))
    }
    return out
}

/// Pixels of a few colours.
private struct Canvas {
    let width: Int
    let height: Int
    private var pixels: [UInt8]

    init(width: Int, height: Int, color: UInt8 = 0) {
        invariant(width > 0 && height >= 0, "a canvas without room")
        self.width = width
        self.height = height
        pixels = [UInt8](repeating: color, count: width * height)
    }

    /// Outside there is nothing, and nothing can be drawn there.
    subscript(_ x: Int, _ y: Int) -> UInt8 {
        get { contains(x, y) ? pixels[x + y * width] : 0 }
        set { if contains(x, y) { pixels[x + y * width] = newValue } }
    }

    private func contains(_ x: Int, _ y: Int) -> Bool {
        x >= 0 && x < width && y >= 0 && y < height
    }

    // MARK: Schotter

    static func schotter(
        columns: Int, perRow: Int, rows: Int, _ prng: inout Prng
    ) -> Canvas {
        let width = columns * 2
        let padding = width > 4 ? 2 : 0
        let side = Double(width - padding * 2) / Double(perRow)
        var canvas = Canvas(width: width, height: Int(side * Double(rows)) + padding * 2)
        for y in 0..<rows {
            for x in 0..<perRow {
                var centerX = (Double(x) * side + side / 2).rounded(.down) + Double(padding)
                var centerY = (Double(y) * side + side / 2).rounded(.down) + Double(padding)
                var angle = 0.0
                if y > 1 {
                    // The further down, the less order.
                    let disorder = Double(y) / Double(rows)
                    angle = prng.signedFraction * disorder
                    centerX += prng.signedFraction * disorder * side / 3
                    centerY += prng.signedFraction * disorder * side / 3
                }
                canvas.drawSquare(
                    centerX.rounded(.towardZero), centerY.rounded(.towardZero), side, angle)
            }
        }
        return canvas
    }

    private mutating func drawSquare(_ x: Double, _ y: Double, _ side: Double, _ angle: Double) {
        // Corners lie on a circle around the centre.
        let radius = (side / 1.4142135623).rounded()
        let corners = (0..<4).map { number -> (x: Int, y: Int) in
            let turn = Double.pi / 4 + angle + Double(number) * Double.pi / 2
            return (
                Int((sine(turn) * radius + x).rounded()), Int((cosine(turn) * radius + y).rounded())
            )
        }
        for number in 0..<4 { drawLine(corners[number], corners[(number + 1) % 4]) }
    }

    /// Bresenham's line.
    private mutating func drawLine(_ from: (x: Int, y: Int), _ to: (x: Int, y: Int)) {
        let dx = abs(to.x - from.x)
        let dy = abs(to.y - from.y)
        var (x, y, error) = (from.x, from.y, dx - dy)
        while true {
            self[x, y] = 1
            if x == to.x, y == to.y { return }
            let doubled = error * 2
            if doubled > -dy {
                error -= dy
                x += from.x < to.x ? 1 : -1
            }
            if doubled < dx {
                error += dx
                y += from.y < to.y ? 1 : -1
            }
        }
    }

    /// A braille character for each two by four pixels.
    var braille: String {
        let dots = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
        var text = ""
        for y in stride(from: 0, to: height, by: 4) {
            for x in stride(from: 0, to: width, by: 2) {
                var code: UInt32 = 0x2800
                for (bit, (dx, dy)) in dots.enumerated() where self[x + dx, y + dy] != 0 {
                    code |= 1 << UInt32(bit)
                }
                if let character = UnicodeScalar(code) { text.unicodeScalars.append(character) }
            }
            if y != height - 1 { text += "\n" }
        }
        return text
    }

    // MARK: Skyline

    mutating func drawSkyline(_ prng: inout Prng) {
        // The lighter towers are always behind the darker ones.
        for color: UInt8 in [2, 1] {
            var offset = -10
            while offset < width {
                offset += prng.below(8)
                let towerWidth = 10 + prng.below(9)
                let spread = color == 2 ? 2 : 3
                let towerHeight = height / 2 + prng.below(height) / spread
                drawTower(offset, towerWidth, towerHeight, color, hasWindows: false, &prng)
                offset += color == 2 ? towerWidth / 2 : towerWidth + 1
            }
        }
        var offset = -10
        while offset < width {
            offset += prng.below(8)
            var towerWidth = 5 + prng.below(14)
            if towerWidth % 4 != 0 { towerWidth += towerWidth % 3 }
            let towerHeight = height / 3 + prng.below(height) / 2
            drawTower(offset, towerWidth, towerHeight, 0, hasWindows: true, &prng)
            offset += towerWidth + 5
        }
    }

    private mutating func drawTower(
        _ left: Int, _ towerWidth: Int, _ towerHeight: Int, _ color: UInt8, hasWindows: Bool,
        _ prng: inout Prng
    ) {
        let bottom = height - 1
        let top = bottom - towerHeight + 1
        let right = left + towerWidth - 1
        for y in stride(from: bottom, through: top, by: -1) {
            for x in left...right {
                // The roof is four pixels narrower.
                if y == top, x <= left + 1 || x >= right - 1 { continue }
                var shade = color
                let isInside = x > left + 1 && x < right - 1 && y > top + 1 && y < bottom - 1
                let (windowX, windowY) = (x - left - 1, y - top - 1)
                if hasWindows, isInside, windowX / 2 % 2 != 0, windowY % 2 != 0 {
                    // Two pixels side by side are one window.
                    shade = windowX % 2 != 0 ? self[x - 1, y] : UInt8(1 + prng.below(2))
                }
                self[x, y] = shade
            }
        }
    }

    /// A coloured space for each pixel, in the four grays of terminals.
    var grayscale: String {
        let colors = ["0;30;40m", "0;90;100m", "0;37;47m", "0;97;107m"]
        var text = ""
        for y in 0..<height {
            for x in 0..<width { text += "\u{1b}[\(colors[Int(self[x, y])]) \u{1b}[0m" }
            if y != height - 1 { text += "\n" }
        }
        return text
    }
}

extension Prng {
    /// Between -1 and 1.
    fileprivate var signedFraction: Double {
        mutating get { Double(below(2_000_001)) / 1_000_000 - 1 }
    }
}
