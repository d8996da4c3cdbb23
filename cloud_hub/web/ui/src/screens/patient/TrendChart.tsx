/** One lane of the trends, drawn by uPlot: fixed range, limits as dashed lines, link gaps hatched, what was given up dotted. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Reading, Trends } from "../../contract";
import type { Lane } from "./trend";
import { columnsOf, rangeOf } from "./trend";

const HEIGHT_PX = 74;

interface Props {
  lane: Lane;
  trends: Trends;
  limits: Reading | undefined;
  isLast: boolean;
}

function hatch(plot: uPlot, gaps: Trends["link_gaps_ms"], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2;
  for (const [fromMs, toMs] of gaps) {
    const left = Math.max(bbox.left, plot.valToPos(fromMs / 1000, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(toMs / 1000, "x", true));
    if (right <= left) continue;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, Math.max(2, right - left), bbox.height);
    ctx.clip();
    ctx.beginPath();
    for (let x = left - bbox.height; x < right; x += 9) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
  ctx.restore();
}

/** What a node gave up is dotted, so that nobody takes it for a gap of the link or for no device. */
function dot(plot: uPlot, stretches: Trends["given_up"], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = colour;
  for (const { from_ms, to_ms } of stretches) {
    const left = Math.max(bbox.left, plot.valToPos(from_ms / 1000, "x", true));
    const right = Math.min(bbox.left + bbox.width, Math.max(left + 2, plot.valToPos(to_ms / 1000, "x", true)));
    for (let x = left; x < right; x += 8) {
      for (let y = bbox.top + 4; y < bbox.top + bbox.height; y += 8) ctx.fillRect(x, y, 2, 2);
    }
  }
  ctx.restore();
}

function dashed(plot: uPlot, limit: string | null | undefined, colour: string): void {
  if (limit == null) return;
  const { ctx, bbox } = plot;
  const y = plot.valToPos(Number(limit), "y", true);
  if (y < bbox.top || y > bbox.top + bbox.height) return;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.setLineDash([6, 4]);
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

/** Pressures as bars from diastolic to systolic. */
function bars(plot: uPlot, upper: (number | null)[], lower: (number | null)[], colour: string): void {
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.beginPath();
  (plot.data[0] as number[]).forEach((at, index) => {
    const top = upper[index];
    const bottom = lower[index];
    if (top == null || bottom == null) return;
    const x = plot.valToPos(at, "x", true);
    ctx.moveTo(x, plot.valToPos(top, "y", true));
    ctx.lineTo(x, plot.valToPos(bottom, "y", true));
  });
  ctx.stroke();
  ctx.restore();
}

function options(props: Props, element: HTMLElement): uPlot.Options {
  const { lane, trends, limits, isLast } = props;
  const style = getComputedStyle(element);
  const colour = style.getPropertyValue(lane.colour).trim() || style.color;
  const quiet = style.getPropertyValue("--text-3").trim();
  const grid = style.getPropertyValue("--grid").trim();
  const own = lane.measures.map((measure) => trends.trends.find((trend) => trend.measure === measure));
  const isBars = lane.measures.length === 2;
  const axis = { stroke: quiet, font: "12px sans-serif", grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  const range = rangeOf(lane, own);
  return {
    width: element.clientWidth,
    height: HEIGHT_PX + (isLast ? 26 : 0),
    legend: { show: false },
    cursor: { sync: { key: trends.bed_key }, drag: { x: false, y: false } },
    padding: [6, 8, isLast ? 0 : 6, 0],
    scales: { x: { range: [trends.from_ms / 1000, trends.to_ms / 1000] }, y: { range } },
    axes: [
      { ...axis, show: isLast, values: "{HH}:{mm}", size: 26 },
      { ...axis, size: 40, splits: () => [range[0], range[1]], grid: { show: false } },
    ],
    series: [
      {},
      { stroke: isBars ? "transparent" : colour, width: 1.75, points: { show: false } },
      { stroke: "transparent", points: { show: false } },
      { stroke: "transparent", points: { show: false } },
    ],
    bands: isBars ? [] : [{ series: [3, 2], fill: `${colour}2e` }],
    hooks: {
      drawClear: [
        (plot) => hatch(plot, trends.link_gaps_ms, style.getPropertyValue("--hatch").trim()),
        (plot) => dot(plot, trends.given_up, quiet),
      ],
      draw: [
        (plot) => {
          dashed(plot, limits?.limit_high, quiet);
          dashed(plot, limits?.limit_low, quiet);
          if (isBars) bars(plot, plot.data[3] as (number | null)[], plot.data[2] as (number | null)[], colour);
        },
      ],
    },
  };
}

/** Columns of a lane; of two measures the second gives the lower ends. */
function dataOf({ lane, trends }: Props): uPlot.AlignedData {
  const find = (measure: string | undefined) => trends.trends.find((trend) => trend.measure === measure);
  const first = columnsOf(find(lane.measures[0]));
  if (lane.measures.length === 1) return first;
  const second = columnsOf(find(lane.measures[1]));
  const lower = new Map(second[0].map((at, index) => [at, second[1][index] ?? null]));
  return [first[0], first[1], first[0].map((at) => lower.get(at) ?? null), first[1]];
}

export function TrendChart(props: Props) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const holder = element.current;
    if (!holder) return undefined;
    const plot = new uPlot(options(props, holder), dataOf(props), holder);
    const observer = new ResizeObserver(() => plot.setSize({ width: holder.clientWidth, height: plot.height }));
    observer.observe(holder);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [props]);
  return <div ref={element} className="trend-plot" />;
}
