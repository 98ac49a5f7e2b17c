"""The stage that measures: importance -> interactions. Plan, cut, do on Ray actors, commit, merge.

No formulas here: those are of ``raymoe.interactions``. A coalition's way from sampling to table:

1.  ``plan.make_plan`` looks at the importance table: each sample and expert is a job, with candidate pairs.
2.  ``cut.open_cut`` cuts jobs into units: some pairs and some blocks of coalitions of one job.
3.  ``measuring.measure`` opens the files of the answers and a fleet of actors.
4.  ``actors.pool.run_units`` sends the units that ``actors.scheduler.Scheduler`` hands out.
5.  ``actors.actor.do_units`` takes them in an actor's process.
6.  ``runner.UnitRunner.run`` makes the game of the unit's sample and expert.
7.  The estimator, in ``raymoe.interactions``, draws the unit's coalitions and asks the game for their worth.
8.  What comes of it are running sums, one row per pair: the answer, an Arrow stream.
9.  ``measuring.Opened.commit`` takes the answer in the driver.
10. ``commit.UnitFiles`` stores it, soon packed with others: a run that broke off finds it there.
11. ``merge.merged`` adds the sums of each job in the plan's order, and turns them into scores.
12. ``merge.write_tables`` writes them: ``interactions-<expert>.parquet``.
"""

from raymoe.probe.probe import probe

__all__ = ["probe"]
