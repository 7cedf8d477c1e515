/* The list of scans: sorting, filtering, totals. */
'use strict';

const at = (id) => document.getElementById(id);
const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
const largest = (values) => (values.length ? Math.max(...values) : null);

/* Title, value to sort by and text of each column; findings reach the threshold. */
const COLUMNS = [
  ['Scan', (scan) => scan.name.toLowerCase(), (scan) => scan.name],
  ['Findings', (scan, found) => found.length, (scan, found) => found.length],
  ['Best score', (scan, found) => largest(found.map((f) => f.score)), (scan, found) => number(largest(found.map((f) => f.score)) ?? NaN, 2)],
  ['Largest, mm', (scan, found) => largest(found.map((f) => f.long_mm)), (scan, found) => number(largest(found.map((f) => f.long_mm)) ?? NaN, 1)],
  ['Malignant', (scan, found) => malignant(found), (scan, found) => {
    const share = malignant(found);
    return share === null ? '–' : `${Math.round(100 * share)} %`;
  }],
  ['Slices', (scan) => scan.slices, (scan) => scan.slices],
];

function malignant(found) {
  return largest(found.map((f) => f.malignancy).filter((share) => share !== null));
}

class ScanList {
  constructor(scans) {
    this.rows = scans.map((scan) => ({ scan, row: this.makeRow(scan) }));
    this.order = { column: 2, falling: true };
    this.makeHead();
    at('threshold').oninput = () => this.update();
    at('name').oninput = () => this.update();
    at('theme').onclick = () => {
      const root = document.documentElement;
      const dark = root.dataset.theme
        ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
      root.dataset.theme = dark ? 'light' : 'dark';
    };
    this.update();
    document.body.dataset.ready = 'true';
  }

  makeHead() {
    const head = at('scans').tHead.rows[0];
    head.append(Object.assign(document.createElement('th'), { textContent: '' }));
    COLUMNS.forEach(([title], column) => {
      const cell = document.createElement('th');
      const button = Object.assign(document.createElement('button'), {
        type: 'button', textContent: title, className: 'sort',
        onclick: () => this.sortBy(column),
      });
      cell.append(button);
      head.append(cell);
    });
  }

  makeRow(scan) {
    const row = document.createElement('tr');
    const picture = row.insertCell();
    if (scan.thumbnail) {
      picture.append(Object.assign(document.createElement('img'), {
        src: scan.thumbnail, alt: '', width: 72, height: 72, loading: 'lazy',
      }));
    }
    for (const [title] of COLUMNS) row.insertCell().dataset.title = title;
    const link = Object.assign(document.createElement('a'), {
      href: scan.page, textContent: scan.name,
    });
    row.cells[1].append(link);
    row.onclick = (event) => { if (event.target !== link) link.click(); };
    return row;
  }

  sortBy(column) {
    const falling = this.order.column === column ? !this.order.falling : column > 0;
    this.order = { column, falling };
    this.update();
  }

  update() {
    const threshold = Number(at('threshold').value);
    const part = at('name').value.trim().toLowerCase();
    at('threshold-value').textContent = threshold.toFixed(2);
    let [shown, total] = [0, 0];
    for (const each of this.rows) {
      each.found = each.scan.findings.filter((finding) => finding.score >= threshold);
      each.row.hidden = !each.scan.name.toLowerCase().includes(part);
      shown += !each.row.hidden;
      total += each.row.hidden ? 0 : each.found.length;
      COLUMNS.forEach(([, , text], n) => {
        if (n > 0) each.row.cells[n + 1].textContent = text(each.scan, each.found);
      });
    }
    at('subtitle').textContent = `${shown} ${shown === 1 ? 'scan' : 'scans'}, ${total} `
      + (total === 1 ? 'finding' : 'findings');
    const { column, falling } = this.order;
    const value = (each) => COLUMNS[column][1](each.scan, each.found);
    this.rows.sort((a, b) => {
      const [first, second] = [value(a), value(b)];
      if (first === second) return a.scan.name.localeCompare(b.scan.name);
      if (first === null) return 1;
      if (second === null) return -1;
      return (first < second) === falling ? 1 : -1;
    });
    at('scans').tBodies[0].append(...this.rows.map((each) => each.row));
    [...at('scans').tHead.rows[0].cells].slice(1).forEach((cell, n) => {
      const order = falling ? 'descending' : 'ascending';
      cell.setAttribute('aria-sort', n === column ? order : 'none');
    });
  }
}

window.list = new ScanList(window.SCANS);
