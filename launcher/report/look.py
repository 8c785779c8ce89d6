"""How the page looks, and the few lines that make its charts answer to the mouse."""

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#14181f;--soft:#5c6675;--rule:#e4e7ec;
--shade:#f0f2f5;--accent:#3257d6;--c-loss:#3257d6;--c-rate:#0e8a6d;--c-lr:#8a5cd6;--c-metric:#c2570c;
--c-stage:#8b6fe0;--c-start:#e0a527;--c-restore:#2aa5bd;--c-train:#2f9e6b;--c-eval:#4a7ff0;--c-load:#c9b458;
--c-save:#d9609f;--c-other:#a3adba;--c-end:#7b8794;--c-lost:#d64545;--good:#1a7f4e;--bad:#c23434;
--warn:#a76a00}
@media(prefers-color-scheme:dark){:root{--bg:#0f1319;--card:#171c24;--ink:#e7ebf1;--soft:#98a3b3;
--rule:#29313d;--shade:#1e2530;--accent:#86a3ff;--c-loss:#86a3ff;--c-rate:#45c9a3;--c-lr:#b597f2;
--c-metric:#f39a5c;--c-stage:#a78bfa;--c-start:#eebc4f;--c-restore:#4ec3d9;--c-train:#4cc38a;
--c-eval:#7aa2ff;--c-load:#d8c772;--c-save:#ec86bb;--c-other:#758192;--c-end:#566274;--c-lost:#ef6a6a;
--good:#55cf93;--bad:#ff8080;--warn:#eebc4f}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:28px 24px 64px}
header{display:flex;flex-wrap:wrap;align-items:center;gap:6px 14px;margin-bottom:20px}
h1{font-size:25px;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
header p{flex-basis:100%;margin:0;color:var(--soft)}
h2{font-size:15px;margin:0 0 14px;font-weight:650}
h2 small{font-weight:400;color:var(--soft);font-size:13px;margin-left:8px}
.pill{font-size:13px;font-weight:650;border-radius:99px;padding:3px 12px;color:var(--soft);
background:color-mix(in srgb,currentColor 13%,transparent)}
.pill.done{color:var(--good)}.pill.failed,.pill.lost{color:var(--bad)}
.pill.saved,.pill.stopped,.pill.stopping{color:var(--warn)}
.pill.running,.pill.starting{color:var(--accent)}
.facts{display:flex;flex-wrap:wrap;gap:1px;
background:var(--rule);border:1px solid var(--rule);border-radius:12px;overflow:hidden;
margin-bottom:16px}
.facts div{background:var(--card);padding:13px 16px 14px;flex:1 1 128px;white-space:nowrap}
.facts span{display:block;color:var(--soft);font-size:12.5px}
.facts b{font-size:21px;font-weight:620;letter-spacing:-.015em;font-variant-numeric:tabular-nums}
.facts b small{font-size:13px;font-weight:400;color:var(--soft);letter-spacing:0}
.grid{display:grid;grid-template-columns:repeat(12,1fr);gap:16px}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:18px 20px;
grid-column:span 12;min-width:0}
section.half{grid-column:span 6}section.third{grid-column:span 4}
section.two-thirds{grid-column:span 8}
.chart{display:grid;grid-template-columns:auto 1fr;grid-template-rows:210px 20px}
.small .chart{grid-template-rows:140px 20px}
.ys{position:relative;min-width:50px}
.ys span,.xs span{position:absolute;font-size:11.5px;color:var(--soft);white-space:nowrap;
font-variant-numeric:tabular-nums}
.ys span{right:9px;transform:translateY(-50%)}
.xs{position:relative;grid-column:2}.xs span{top:5px;transform:translateX(-50%)}
.area{position:relative;border-bottom:1px solid var(--rule)}
.area svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.area line{stroke:var(--rule);stroke-width:1;vector-effect:non-scaling-stroke}
polyline{fill:none;stroke:var(--colour);stroke-width:2;stroke-linejoin:round;stroke-linecap:round;
vector-effect:non-scaling-stroke}
polyline.faint{stroke-width:1;opacity:.32}
.area u{position:absolute;top:0;bottom:0;border-left:1.5px dashed var(--soft);opacity:.75}
.area u span{position:absolute;left:5px;top:-2px;font-size:11px;color:var(--soft);
white-space:nowrap;background:var(--card);padding:0 3px}
.area u.left span{left:auto;right:5px}
.area s{position:absolute;width:7px;height:7px;margin:-3.5px;border-radius:50%;
background:var(--colour);box-shadow:0 0 0 2px var(--card)}
.cursor{display:none;position:absolute;width:9px;height:9px;margin:-4.5px;border-radius:50%;
background:var(--card);border:2px solid var(--colour);pointer-events:none}
.tip{display:none;position:absolute;font-size:12px;font-weight:550;background:var(--ink);
color:var(--card);border-radius:6px;padding:2px 8px;white-space:nowrap;pointer-events:none;
transform:translate(-50%,-32px);font-variant-numeric:tabular-nums;z-index:2}
.bar{display:flex;gap:2px;height:26px;border-radius:7px;overflow:hidden}
.bar i{flex-basis:0;min-width:2px}
.legend{list-style:none;margin:14px 0 0;padding:0;display:grid;gap:3px 28px;
grid-template-columns:repeat(auto-fill,minmax(225px,1fr))}
.legend li{display:flex;align-items:baseline;gap:9px;font-variant-numeric:tabular-nums}
.legend i{width:10px;height:10px;border-radius:3px}.legend span{flex:1}
.legend b{font-weight:550;white-space:nowrap}
.legend em{font-style:normal;color:var(--soft);width:48px;text-align:right}
.failure{border-color:color-mix(in srgb,var(--bad) 45%,var(--rule))}
.failure h2{color:var(--bad)}.failure p{margin:0 0 10px;overflow-wrap:anywhere}
pre{background:var(--shade);border-radius:8px;padding:12px 14px;margin:0 0 12px;overflow:auto;
font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;max-height:420px}
.scroll{overflow-x:auto;margin:0 -20px;padding:0 20px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{font-weight:500;color:var(--soft);text-align:left;font-size:12.5px;white-space:nowrap}
th,td{padding:6px 18px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.row td:not(:last-child){white-space:nowrap}
tr.row td:last-child:nth-child(7){min-width:230px}
td.k{color:var(--soft);white-space:nowrap;width:1%}
td.v{overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.columns{display:grid;grid-template-columns:1fr 1fr;gap:0 40px;align-items:start}
details>summary{cursor:pointer;font-size:15px;font-weight:650}
details[open]>summary{margin-bottom:14px}
summary small{font-weight:400;color:var(--soft);font-size:13px;margin-left:8px}
.none{color:var(--soft);margin:0}
footer{color:var(--soft);font-size:13px;margin-top:20px;overflow-wrap:anywhere}
@media(max-width:860px){section.half,section.third,section.two-thirds{grid-column:span 12}
.columns{grid-template-columns:1fr}}
@media(max-width:520px){main{padding:18px 12px 40px}section{padding:15px 14px}
.scroll{margin:0 -14px;padding:0 14px}.chart{grid-template-rows:170px 20px}
.facts div{padding:10px 13px;flex-basis:40%}.facts b{font-size:18px}
.ys{min-width:42px}td.k{white-space:normal;width:40%}}
@media print{body{background:#fff}section{break-inside:avoid}}
"""

SCRIPT = """
for (const chart of document.querySelectorAll('.chart')) {
  const points = JSON.parse(chart.dataset.points), area = chart.querySelector('.area');
  const cursor = chart.querySelector('.cursor'), tip = chart.querySelector('.tip');
  const show = on => { cursor.style.display = tip.style.display = on ? 'block' : 'none'; };
  area.addEventListener('pointermove', event => {
    const box = area.getBoundingClientRect(), at = (event.clientX - box.left) / box.width;
    let best = points[0];
    for (const p of points) if (Math.abs(p[0] - at) < Math.abs(best[0] - at)) best = p;
    tip.textContent = best[2];
    for (const mark of [cursor, tip]) {
      mark.style.left = 100 * best[0] + '%'; mark.style.top = 100 * best[1] + '%';
    }
    const half = tip.offsetWidth / 2, x = best[0] * box.width;
    tip.style.marginLeft = Math.max(half - x, 0) + Math.min(box.width - half - x, 0) + 'px';
    show(true);
  });
  area.addEventListener('pointerleave', () => show(false));
}
"""
