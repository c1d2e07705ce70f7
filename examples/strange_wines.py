"""
Strange wines, and why
======================

Which wines are unlike the others, and which measurement makes them so? Above, the strangeness of
all rows; below, the strangest ones, with the values that surprise.
"""

from sklearn.datasets import load_wine

from aefast import AnomalyDetector, plotting
from aefast.plotting.anomalies import anomalies

X = load_wine(as_frame=True).data
X.loc[17, "alcohol"] = 1.42  # a decimal point in the wrong place
detector = AnomalyDetector().fit(X)

figure = anomalies(detector, X, top=12)
plotting.save(figure, "strange_wines.png")
