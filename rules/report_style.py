"""The report's style sheet: black on white, A4, tables that repeat their heads and rows that are not cut."""

from __future__ import annotations

STYLE = """
:root{--ink:#16202a;--soft:#5b6875;--line:#d5dbe1}
*{box-sizing:border-box}
body{margin:2rem auto;max-width:68rem;padding:0 1rem;color:var(--ink);background:#fff;
 font:15px/1.5 "Noto Sans SC","PingFang SC","Microsoft YaHei",system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:1.6rem;line-height:1.3;margin:.2rem 0}
h1 small{display:block;font-size:1rem;font-weight:400;color:var(--soft)}
h1.bad{color:#c1121f}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
.eyebrow,.cap{color:var(--soft);font-size:.85rem;margin:.2rem 0}
.over{border:2px solid #c1121f;padding:.2rem 1rem;margin:1rem 0}.over h2{margin:.4rem 0}
table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{text-align:left;padding:.25rem .5rem;
 border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}
th{color:var(--soft);font-weight:600}table.figures{max-width:44rem}table.figures small{color:var(--soft)}
.p1{color:#c1121f}.p2{color:#b35600}.p3{color:#7a5f00}.p4{color:#1d5fbf}.en{font-size:.85em}
.missed{color:#c1121f;font-weight:600}.standing{color:#7a5f00}
figure{margin:.8rem 0;break-inside:avoid}figcaption{font-size:.85rem;color:var(--soft)}
svg.plot{width:100%;max-width:44rem;height:auto}svg.bars{width:100%;max-width:44rem;height:48px}
svg.bars rect{fill:#33475b}.frame{fill:none;stroke:#8795a3;stroke-width:1}
.trace{fill:none;stroke:#16202a;stroke-width:1.3;stroke-linejoin:round}
.tick{font-size:10px;fill:#5b6875}.tick.end{text-anchor:end}
.tick.name{fill:#16202a;paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}
.method{font-size:.8rem;color:var(--soft);overflow-wrap:anywhere}
@media screen and (max-width:48rem){body{margin:1rem auto}table{display:block;overflow-x:auto;white-space:nowrap}
 table.figures{white-space:normal}table.figures td+td,table.figures th+th{white-space:nowrap}
 svg.plot .tick{font-size:14px}}
@media print{@page{size:A4;margin:14mm}body{margin:0;max-width:none;font-size:11px}thead{display:table-header-group}
 table{font-size:10px} tr,figure{break-inside:avoid}h2,h3{break-after:avoid}}
"""
