//! Small pictures, as text.

/// How numbers are laid along an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) title: &'static str,
    /// The numbers that are written beside it, from its beginning to its end; powers of one base, and perhaps 0 first.
    pub(crate) ticks: &'static [f64],
}

/// One line, with its colour and its points.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A diagram, both of whose axes are logarithmic.
pub(crate) struct Diagram {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// The diagrams side by side.
pub(crate) fn draw(diagrams: &[Diagram]) -> String {
    let count = u32::try_from(diagrams.len()).unwrap_or_default();
    let width = WIDTH * f64::from(count);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, diagram) in (0..count).zip(diagrams) {
        text += &format!(
            "<g transform=\"translate({} 0)\">\n",
            WIDTH * f64::from(number)
        );
        text += &diagram.text();
        text += "</g>\n";
    }
    text + "</svg>\n"
}

impl Axis {
    /// Where a number is, from 0 at the axis' beginning to 1 at its end. What lies outside is drawn at the edge.
    fn place(&self, number: f64) -> f64 {
        let last = self.ticks.len() - 1;
        let after = self
            .ticks
            .iter()
            .position(|tick| *tick >= number)
            .unwrap_or(last)
            .max(1);
        let (low, high) = (self.ticks[after - 1], self.ticks[after]);
        let part = match low {
            0.0 => number / high,
            _ => (number / low).ln() / (high / low).ln(),
        };
        let index = u32::try_from(after - 1).unwrap_or_default();
        let last = u32::try_from(last).unwrap_or(1);
        (f64::from(index) + part.clamp(0.0, 1.0)) / f64::from(last)
    }
}

impl Diagram {
    fn x(&self, number: f64) -> f64 {
        LEFT + self.x.place(number) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, number: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(number) * (HEIGHT - TOP - BOTTOM)
    }

    fn text(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut text = format!(
            "<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text>\n\
             <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"4\" y=\"30\" fill=\"#555\">{}</text>\n",
            self.title,
            HEIGHT - 8.0,
            self.x.title,
            self.y.title
        );
        for tick in self.y.ticks {
            let y = self.y(*tick);
            text += &format!(
                "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 5.0,
                y + 4.0,
                short(*tick)
            );
        }
        for tick in self.x.ticks {
            let x = self.x(*tick);
            text += &format!(
                "<path d=\"M{x:.1} {bottom}v4\" stroke=\"#555\"/>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 16.0,
                short(*tick)
            );
        }
        for line in &self.lines {
            text += &self.line(line);
        }
        text
    }

    fn line(&self, line: &Line) -> String {
        let colour = line.colour;
        let places: Vec<_> = line
            .points
            .iter()
            .map(|(x, y)| (self.x(*x), self.y(*y)))
            .collect();
        let points: Vec<_> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let mut text = format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            points.join(" ")
        );
        for (x, y) in &places {
            text += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>\n");
        }
        if let Some((x, y)) = places.last() {
            let (x, y) = (x.min(WIDTH - RIGHT), y - 7.0);
            text += &format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>\n",
                line.name
            );
        }
        text
    }
}

/// 1000000 as 1M.
fn short(number: f64) -> String {
    match number {
        big if big >= 1e6 => format!("{}M", big / 1e6),
        middle if middle >= 1e3 => format!("{}k", middle / 1e3),
        small => small.to_string(),
    }
}
