# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""What is known, and what it answers: fingerprint and destination in, process and system out.

One immutable structure over a mapped file (container.py). How a fingerprint is found among those
that are known is in cascade.pyx, what its processes weigh in ranking.pyx.
"""

from libc.math cimport pow
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from vermilion_classify.cascade cimport APPROXIMATE, EXACT, NO_MATCH, SORTED, STABLE, Cascade
from vermilion_classify.container import ContainerError
from vermilion_classify.destination cimport Destination, Tables
from vermilion_classify.destination import of_classes
from vermilion_classify.forms cimport Parsed
from vermilion_classify.index cimport NONE, check_offsets
from vermilion_classify.ranking cimport Ranking
from vermilion_classify.systems cimport BY_PROCESS, BY_SYN, Systems

cdef enum:
    BANDS = 16          # of calibration: exact, sorted, stable, and approximate by distance
    KNOTS = 21
    LAYERS = 64
    MOST_FAMILIES_FOUND = 512
    GREATEST_MONTH = 12 * 200

cdef tuple MATCHES = ("exact", "sorted", "stable", "approximate", "none")
cdef double MICROSECONDS_A_YEAR = 365.25 * 86_400e6


cdef struct Candidate:
    uint32_t family
    uint32_t row        # its likeliest process
    double share        # of all
    double row_share


cdef class Knowledge:
    """Answers which process a fingerprint belongs to. Raises ContainerError.

    ``version`` names it, ``meta`` tells what it was built from (compiling.py).
    """

    cdef readonly dict version, meta
    cdef object _container
    cdef Ranking _ranking
    cdef Tables _tables
    cdef Systems _systems
    cdef Cascade _cascade
    cdef const uint32_t[::1] _text_at
    cdef const uint8_t[::1] _texts, _layer
    cdef const uint16_t[::1] _earliest, _latest, _suite_month, _extension_month
    cdef list _text, _months, _layers, _absolute, _labelled
    cdef double _dates[LAYERS]
    cdef double _bands[BANDS][KNOTS], _system_bands[BANDS][KNOTS], _band_ends[BANDS]
    cdef int _band_count
    cdef double _retention, _syn_retention, _syn_exact, _syn_layout
    cdef Candidate _candidates[MOST_FAMILIES_FOUND]
    cdef int _families

    def __init__(self, container):
        self._container = container
        self.meta = container.meta
        try:
            self._open(container)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ContainerError(
                f"{container.origin}: contents: {type(error).__name__}: {error}"
            ) from None

    def _open(self, container):
        meta = self.meta
        self.version = {"name": meta["name"], "version": meta["version"]}
        self._text_at, self._texts = container["text_at"], container["texts"]
        origin = container.origin
        check_offsets(f"{origin}: section text_at", self._text_at, self._texts.shape[0])
        self._text = [None] * (self._text_at.shape[0] - 1)
        self._systems = Systems(container)
        self._ranking = Ranking(container, len(self._text), len(self._systems.names))
        entries = self._ranking.entries
        self._tables = Tables(container)
        self._cascade = Cascade(container, entries, meta["threshold"])
        self._layer = container["entry_layer"]
        self._earliest, self._latest = container["earliest"], container["latest"]
        self._suite_month, self._extension_month = container["suite_month"], container["extension_month"]
        for name, size in (
            ("entry_layer", entries), ("earliest", entries), ("latest", entries),
            ("suite_month", 65536), ("extension_month", 65536),
        ):
            if len(container[name]) != size:
                raise ContainerError(f"{origin}: section {name}: {size} items are expected")
        self._layers = [f"{layer['name']} {layer['version']}" for layer in meta["layers"]]
        if not 1 <= len(self._layers) <= LAYERS or max(container["entry_layer"], default=0) >= len(self._layers):
            raise ContainerError(f"{origin}: section entry_layer: names a layer that is not there")
        for i, layer in enumerate(meta["layers"]):
            self._dates[i] = 1e6 * layer["newest"]
        self._absolute = [bool(layer["absolute"]) for layer in meta["layers"]]
        self._labelled = [bool(layer["malware"]) for layer in meta["layers"]]
        self._months = [None] * GREATEST_MONTH
        self._retention = meta["retention"]["process"]
        self._syn_retention = meta["retention"]["syn"]
        self._syn_exact, self._syn_layout = meta["syn"]["exact"], meta["syn"]["layout"]
        calibration = meta["calibration"]
        self._band_count = len(calibration["ends"])
        if not APPROXIMATE < self._band_count <= BANDS:
            raise ValueError(f"{self._band_count} bands of calibration")
        for i in range(self._band_count):
            self._band_ends[i] = calibration["ends"][i]
            if len(calibration["process"][i]) != KNOTS or len(calibration["system"][i]) != KNOTS:
                raise ValueError(f"band {i} of calibration has not {KNOTS} knots")
            for k in range(KNOTS):
                self._bands[i][k] = calibration["process"][i][k]
                self._system_bands[i][k] = calibration["system"][i][k]

    # What is there.

    @property
    def entries(self):
        """How many fingerprints."""
        return self._ranking.entries

    def key(self, uint32_t entry):
        """The fingerprint of an entry, as the extractor writes it. Raises IndexError."""
        if entry >= self._ranking.entries:
            raise IndexError(entry)
        return self._cascade.key(entry).decode()

    def entry_of(self, str fingerprint not None):
        """The entry that a fingerprint is exactly, or None."""
        cdef bytes text = fingerprint.encode("utf-8", "surrogatepass")
        cdef uint32_t entry = self._cascade.exactly(text)
        return None if entry == NONE else entry

    def processes(self, uint32_t entry):
        """The names of an entry's processes, in the database's order. Raises IndexError."""
        if entry >= self._ranking.entries:
            raise IndexError(entry)
        return [
            self._string(self._ranking.process[row])
            for row in range(self._ranking.rows_at[entry], self._ranking.rows_at[entry + 1])
        ]

    def layer_of(self, uint32_t entry):
        """Which of ``meta["layers"]`` an entry is from. Raises IndexError."""
        if entry >= self._ranking.entries:
            raise IndexError(entry)
        return self._layer[entry]

    cdef str _string(self, uint32_t number):
        cdef object text
        if number == NONE:
            return None
        text = self._text[number]
        if text is None:
            text = bytes(self._texts[self._text_at[number] : self._text_at[number + 1]]).decode()
            self._text[number] = text
        return text

    # What the entries found say together.

    cdef int _gather(self, Destination destination) except -1:
        """Fill _candidates, best first, and what the processes say of the system."""
        cdef Ranking ranking = self._ranking
        cdef Py_ssize_t i, row, k
        cdef double total = 0.0, share
        cdef int c
        cdef Candidate candidate
        self._families = 0
        for i in range(self._cascade.count):
            total += self._cascade.weight[i]
        for i in range(self._cascade.count):
            ranking.weigh(self._cascade.found[i], destination)
            for row in range(ranking.rows_at[self._cascade.found[i]], ranking.rows_at[self._cascade.found[i] + 1]):
                share = ranking.scores[row - ranking.rows_at[self._cascade.found[i]]] * self._cascade.weight[i] / total
                for k in range(ranking.os_at[row], ranking.os_at[row + 1]):
                    self._systems.add(BY_PROCESS, ranking.os[k], share * ranking.os_share[k])
                for c in range(self._families):
                    if self._candidates[c].family == ranking.family[row]:
                        break
                else:
                    c = self._families
                    if c == MOST_FAMILIES_FOUND:
                        continue
                    self._families += 1
                    self._candidates[c].family = ranking.family[row]
                    self._candidates[c].share = self._candidates[c].row_share = 0.0
                self._candidates[c].share += share
                if share > self._candidates[c].row_share or self._candidates[c].row_share == 0.0:
                    self._candidates[c].row_share = share
                    self._candidates[c].row = <uint32_t>row
        for i in range(1, self._families):
            candidate = self._candidates[i]
            k = i
            while k > 0 and self._candidates[k - 1].share < candidate.share:
                self._candidates[k] = self._candidates[k - 1]
                k -= 1
            self._candidates[k] = candidate
        return 0

    cdef int _band(self) noexcept:
        cdef int band = self._cascade.kind
        if band == APPROXIMATE:
            while band < self._band_count - 1 and self._cascade.distance > self._band_ends[band]:
                band += 1
        return band

    def classes(self, int system, domain, port):
        """A destination of which the AS's number, the domain and the kind of port are all that is known."""
        return of_classes(self._tables, system, domain, port)

    def raw(self, str fingerprint not None, Destination destination not None, without=None, before=None):
        """What is found before it is calibrated, for fitting and for measuring.

        ``(match, distance, band, [(family, share)], [(name, family, share)])``, best first; the last are
        operating systems. ``without``: an entry that is taken to be unknown; ``before``: so are all that
        were first seen on this day (since 1970) or later.
        """
        self._systems.reset()
        self._cascade.search(
            fingerprint.encode(),
            NONE if without is None else <uint32_t>without, NONE if before is None else <uint32_t>before,
        )
        if self._cascade.count == 0:
            return "none", self._cascade.distance, NO_MATCH, [], []
        self._gather(destination)
        processes = [
            (self._string(self._candidates[c].family), self._candidates[c].share)
            for c in range(self._families)
        ]
        systems = [(s["name"], s["family"], s["score"]) for s in self._systems.answer(1.0, 1.0, self._cascade.kind == EXACT)]
        return MATCHES[self._cascade.kind], self._cascade.distance, self._band(), processes, systems

    # The answer.

    def analyse(self, event, int alternatives=0):
        """The answer for one event, with up to ``alternatives`` probable processes.

        None for an event of a kind that no database covers. Raises ValueError when the destination is
        no IP address.
        """
        if event["type"] != "tls" or (tls := event["tls"]) is None:
            return None
        fingerprint = event["fingerprints"].get("tls")
        if not isinstance(fingerprint, str):
            return None
        destination = Destination.__new__(
            Destination, self._tables, event["dst_ip"], tls["server_name"], event["dst_port"]
        )
        (<Destination>destination).prepare(0)  # whether or not anything is found, it must be an address
        return self._answer(fingerprint, destination, event["event_start"], event.get("syn"), alternatives)

    def answer(
        self, str fingerprint not None, Destination destination not None, long long time, syn=None,
        int alternatives=0
    ):
        """The answer for a fingerprint seen at ``time`` (microseconds), and the SYN's of its flow.

        Raises ValueError when the destination is no IP address.
        """
        return self._answer(fingerprint, destination, time, syn, alternatives)

    cdef dict _answer(
        self, str fingerprint, Destination destination, long long time, object syn, int alternatives
    ):
        cdef bytes text = fingerprint.encode("utf-8", "surrogatepass")
        cdef double years, system_believed = 0.0, syn_believed = 0.0, top_share
        cdef int layer, band
        cdef bint exact_syn = False
        cdef uint32_t row
        self._systems.reset()
        self._cascade.search(text, NONE, NONE)
        answer = {
            "process": "Unknown", "score": 0.0, "match": MATCHES[self._cascade.kind], "distance": None,
            "status": "labelled", "malware": None, "p_malware": None, "attributes": [], "os": [],
            "probable_processes": [], "category": None, "implementation": None,
            "knowledge": self.version, "layer": None,
        }
        layer = self._layer[self._cascade.found[0]] if self._cascade.count else 0
        years = max(0.0, (time - self._dates[layer]) / MICROSECONDS_A_YEAR)
        if self._cascade.count:
            band = self._band()
            answer["layer"] = self._layers[layer]
            if self._cascade.kind == EXACT:
                self._alone(answer, destination, alternatives, layer, band, years)
            else:
                answer["distance"] = self._cascade.distance
                self._gather(destination)
                self._together(answer, alternatives, layer, band, years)
            system_believed = kept(self._retention, years)
            if band or not self._absolute[layer]:
                top = self._systems.answer(1.0, 0.0, self._cascade.kind == EXACT)
                top_share = top[0]["score"] if top else 0.0
                if top_share > 0.0:
                    system_believed *= knot(self._system_bands[band], top_share) / top_share
        if self._cascade.kind != EXACT:
            answer["status"] = "unlabelled" if self._cascade.unlabelled(text) else "never_seen"
            if self._cascade.kind == SORTED or self._cascade.kind == STABLE:
                answer["status"] = "labelled"
            row = self._systems.of_hello(text)
            if row != NONE:  # its systems are known, though its processes are not
                self._systems.reset()
                self._systems.add_known(BY_PROCESS, row)
                system_believed = kept(self._retention, years)
        if syn is not None:
            row = self._systems.of_syn((<str?>syn).encode("utf-8", "surrogatepass"), &exact_syn)
            if self._systems.add_known(BY_SYN, row):
                syn_believed = self._syn_exact if exact_syn else self._syn_layout
                syn_believed *= kept(self._syn_retention, years)
        answer["os"] = self._systems.answer(system_believed, syn_believed, self._cascade.kind == EXACT)
        answer["implementation"] = self._implementation()
        return answer

    cdef int _alone(
        self, dict answer, Destination destination, int alternatives, int layer, int band, double years
    ) except -1:
        """The very fingerprint is known: the database's own processes and scores, none added up."""
        cdef Ranking ranking = self._ranking
        cdef uint32_t entry = self._cascade.found[0], first = ranking.rows_at[entry]
        cdef Py_ssize_t rows = ranking.rows_at[entry + 1] - first, i, k, best = 0
        cdef double* scores = ranking.scores
        cdef double total, raw, factor = 1.0
        ranking.weigh(entry, destination)
        for i in range(1, rows):
            if scores[i] > scores[best]:
                best = i
        order = None
        if alternatives or self._labelled[layer]:
            order = sorted(range(rows), key=lambda i: -scores[<Py_ssize_t>i])
            if self._labelled[layer] and self._demilitarized(ranking, first, order):
                # What remains is all there is.
                order = order[1:]
                total = 0.0
                for i in order:
                    total += scores[i]
                scores[best] = 0.0
                for i in order:
                    scores[i] = scores[i] / total if total > 0.0 else 0.0
                best = order[0]
        for i in range(rows):
            for k in range(ranking.os_at[first + i], ranking.os_at[first + i + 1]):
                self._systems.add(BY_PROCESS, ranking.os[k], scores[i] * ranking.os_share[k])
        raw = scores[best]
        if not self._absolute[layer] and raw > 0.0:
            factor = min(1.0, knot(self._bands[band], raw) / raw) * kept(self._retention, years)
        answer["process"] = self._string(ranking.family[first + best])
        answer["score"] = raw * factor
        answer["category"] = self._string(ranking.category[first + best])
        if self._labelled[layer]:
            self._malware(answer, ranking, first, rows, best, factor)
        if alternatives:
            answer["probable_processes"] = [
                self._process(ranking, first + <uint32_t>i, scores[<Py_ssize_t>i] * factor, layer)
                for i in order[:alternatives]
            ]
        return 0

    cdef bint _demilitarized(self, Ranking ranking, uint32_t first, list order) except -1:
        """Whether the best is traffic of a DMZ that is no malware, and the next is none either."""
        return (
            len(order) > 1
            and self._string(ranking.process[first + <uint32_t>order[0]]).lower()
            in ("generic dmz traffic", "generic dmz process")
            and ranking.malware[first + <uint32_t>order[0]] != 1
            and ranking.malware[first + <uint32_t>order[1]] != 1
        )

    cdef int _malware(
        self, dict answer, Ranking ranking, uint32_t first, Py_ssize_t rows, Py_ssize_t best, double factor
    ) except -1:
        cdef double p = 0.0
        cdef Py_ssize_t i, k
        tags = {}
        for i in range(rows):
            if ranking.malware[first + i] == 1:
                p += ranking.scores[i]
            for k in range(ranking.attributes_at[first + i], ranking.attributes_at[first + i + 1]):
                name = self._string(ranking.attributes[k])
                tags[name] = tags.get(name, 0.0) + ranking.scores[i] * factor
        answer["malware"] = ranking.malware[first + best] == 1
        answer["p_malware"] = p * factor
        answer["attributes"] = [
            {"name": name, "probability_score": score} for name, score in tags.items() if score > 0.0
        ]
        return 0

    cdef dict _process(self, Ranking ranking, uint32_t row, double score, int layer):
        return {
            "process": self._string(ranking.process[row]), "score": score,
            "sha256": self._string(ranking.sha256[row]),
            "malware": ranking.malware[row] == 1 if self._labelled[layer] else None,
        }

    cdef int _together(self, dict answer, int alternatives, int layer, int band, double years) except -1:
        """Several fingerprints are alike: families of processes, calibrated."""
        cdef Ranking ranking = self._ranking
        cdef double raw = self._candidates[0].share, others = 0.0, factor, score, p = 0.0
        cdef uint32_t row = self._candidates[0].row
        cdef int c
        score = knot(self._bands[band], raw) * kept(self._retention, years)
        # What the best does not have is the others', as far as they account for it.
        for c in range(1, self._families):
            others += self._candidates[c].share
        factor = min(score / raw if raw > 0.0 else 0.0, (1.0 - score) / others if others > 0.0 else 0.0)
        for c in range(1, self._families):
            self._candidates[c].share *= factor
        self._candidates[0].share = score
        answer["process"] = self._string(self._candidates[0].family)
        answer["score"] = score
        answer["category"] = self._string(ranking.category[row])
        if self._labelled[layer]:
            for c in range(self._families):
                if ranking.malware[self._candidates[c].row] == 1:
                    p += self._candidates[c].share
            answer["malware"] = ranking.malware[row] == 1
            answer["p_malware"] = p
        if alternatives:
            answer["probable_processes"] = [
                self._process(ranking, self._candidates[c].row, self._candidates[c].share, layer)
                for c in range(min(alternatives, self._families))
            ]
        return 0

    cdef object _implementation(self):
        """When the oldest and the newest of what it offers became available."""
        cdef uint16_t earliest = 0, latest = 0, month
        cdef Py_ssize_t i
        if self._cascade.kind == EXACT and self._cascade.count:
            earliest, latest = self._earliest[self._cascade.found[0]], self._latest[self._cascade.found[0]]
        elif self._cascade.parsed is not None:
            for i in range(self._cascade.parsed._suite_count):
                month = self._suite_month[self._cascade.parsed.suite(i)]
                if month:
                    earliest = month if earliest == 0 else min(earliest, month)
                    latest = max(latest, month)
            for i in range(self._cascade.parsed._count):
                month = self._extension_month[self._cascade.parsed._types[i]]
                if month:
                    earliest = month if earliest == 0 else min(earliest, month)
                    latest = max(latest, month)
        if latest == 0:
            return None
        return {"earliest": self._month(earliest), "latest": self._month(latest)}

    cdef str _month(self, uint16_t number):
        """``number`` counts from December 1989."""
        if number >= GREATEST_MONTH:
            return None
        text = self._months[number]
        if text is None:
            text = f"{1990 + (number - 1) // 12:04d}-{(number - 1) % 12 + 1:02d}"
            self._months[number] = text
        return text


cdef inline double kept(double yearly, double years) noexcept:
    """What so many years leave of a belief."""
    return pow(yearly, years) if years > 0.0 else 1.0


cdef double knot(const double* knots, double share) noexcept:
    """What a share has shown to be worth: linear between the knots, which stand at each twentieth."""
    cdef double at = share * (KNOTS - 1)
    cdef int low = <int>at
    if low >= KNOTS - 1:
        return knots[KNOTS - 1]
    return knots[low] + (at - low) * (knots[low + 1] - knots[low])
