"""Indices of ISO 22400-2 beside TRS, from the same times.

Which time is which element (states of OPC 40001-1, annex C):

    PBT   planned busy time            tR
    APT   actual production time       tF
    AUST  actual unit set-up time      set-up
    AUPT  actual unit processing time  APT + AUST
    ADET  actual unit delay time       induced stops
    ADOT  actual unit down time        own stops (and micro-stops, if they lower availability)
    AUBT  actual unit busy time        AUPT + ADET
    AOET  actual order execution time  APT + AUST + ADET + ADOT

OEE equals TRS where set-up counts as a stop, as it does here; NEE does not count set-up as lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from workspace_lib.machining.kpis import Times, ratio

_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Iso22400:
    """Indices of a window; None where a part is not known or nothing stands below.

    All are fractions, but for ``throughput`` [pieces/h], and ``mtbf_s``, ``mtbf_2014_s`` and
    ``mttr_s`` [s]. The text of 2014 divides the time between failures by their number and one; in
    practice it is divided by their number: both are here. A failure is an own stop.
    """

    availability: float | None
    effectiveness: float | None
    quality_ratio: float | None
    oee: float | None
    nee: float | None
    allocation_ratio: float | None
    allocation_efficiency: float | None
    utilization_efficiency: float | None
    technical_efficiency: float | None
    setup_rate: float | None
    production_process_ratio: float | None
    throughput: float | None
    scrap_ratio: float | None
    mtbf_s: float | None
    mtbf_2014_s: float
    mttr_s: float | None


def iso_22400(times: Times) -> Iso22400:
    """Return the indices of times.

    Sources: argument lists of the ontology IndustrialStandard-ODP-ISO22400-2 2.0.0 and the
    standard's public descriptions. Quality here is a ratio of counts, as the standard has it; with
    several cycle times OEE can differ from TRS, whose quality is a ratio of times.
    """
    apt, pbt, aust, adet = (
        times.functioning_us,
        times.required_us,
        times.setup_us,
        times.induced_us,
    )
    adot = times.own_us + (times.micro_us if times.micro_class == "availability" else 0)
    aupt = apt + aust
    aubt = aupt + adet
    aoet = aubt + adot
    produced, good = times.produced, times.good
    bad = None if good is None else produced - good
    quality = ratio(good, produced)
    effectiveness = ratio(times.ideal_us, apt)
    return Iso22400(
        availability=ratio(apt, pbt),
        effectiveness=effectiveness,
        quality_ratio=quality,
        oee=_product(ratio(apt, pbt), effectiveness, quality),
        nee=_product(ratio(aupt, pbt), effectiveness, quality),
        allocation_ratio=ratio(aubt, aoet),
        allocation_efficiency=ratio(aubt, pbt),
        utilization_efficiency=ratio(apt, aubt),
        technical_efficiency=ratio(apt, apt + adet),
        setup_rate=ratio(aust, aupt),
        production_process_ratio=ratio(apt, aoet),
        throughput=ratio(produced, aoet / _HOUR_US),
        scrap_ratio=ratio(bad, produced),
        mtbf_s=ratio(apt / 1e6, times.stops),
        mtbf_2014_s=apt / 1e6 / (times.stops + 1),
        mttr_s=ratio(adot / 1e6, times.stops),
    )


def _product(*factors: float | None) -> float | None:
    result = 1.0
    for factor in factors:
        if factor is None:
            return None
        result *= factor
    return result
