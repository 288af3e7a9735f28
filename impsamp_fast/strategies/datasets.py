"""The strategies that choose the samples of each epoch: the samplers themselves."""

from impsamp_fast.dataset import (
    ActiveBias,
    Bandit,
    BatchLossPruning,
    CachedErrors,
    EarlyImportance,
    EpochAccuracyFilter,
    EvolvedPruning,
    InfoBatch,
    OnlineBatchSelection,
    RandomPruning,
    RandomSubsets,
    RecencyBias,
    RobustImportance,
    SlidingWindow,
)
from impsamp_fast.strategies.assist import BIBTEX as SMEDAS
from impsamp_fast.strategies.cheng import BIBTEX as CHENG
from impsamp_fast.strategies.registry import register

QUERCIA = """
@inproceedings{quercia2023sgd,
  author    = {Quercia, Alessio and Morrison, Abigail and Scharr, Hanno and Assent, Ira},
  title     = {{SGD} Biased towards Early Important Samples for Efficient Training},
  booktitle = {IEEE International Conference on Data Mining},
  pages     = {1289--1294},
  year      = {2023}
}
"""

LOSHCHILOV = """
@article{loshchilov2015online,
  author  = {Loshchilov, Ilya and Hutter, Frank},
  title   = {Online Batch Selection for Faster Training of Neural Networks},
  journal = {arXiv preprint arXiv:1511.06343},
  year    = {2015}
}
"""

SONG = """
@inproceedings{song2020carpe,
  author    = {Song, Hwanjun and Kim, Minseok and Kim, Sundong and Lee, Jae-Gil},
  title     = {Carpe Diem, Seize the Samples Uncertain ``at the Moment'' for Adaptive Batch
               Selection},
  booktitle = {Proceedings of the 29th ACM International Conference on Information and Knowledge
               Management},
  year      = {2020}
}
"""

CHANG = """
@inproceedings{chang2017active,
  author    = {Chang, Haw-Shiuan and Learned-Miller, Erik and McCallum, Andrew},
  title     = {Active Bias: Training More Accurate Neural Networks by Emphasizing High Variance
               Samples},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {30},
  pages     = {1002--1012},
  year      = {2017}
}
"""

LIU = """
@inproceedings{liu2020adam,
  author    = {Liu, Rui and Wu, Tianyi and Mozafari, Barzan},
  title     = {Adam with Bandit Sampling for Deep Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020}
}
"""

JOHNSON = """
@inproceedings{johnson2018training,
  author    = {Johnson, Tyler B. and Guestrin, Carlos},
  title     = {Training Deep Models Faster with Robust, Approximate Importance Sampling},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  pages     = {7265--7275},
  year      = {2018}
}
"""

QIN = """
@inproceedings{qin2024infobatch,
  author    = {Qin, Ziheng and Wang, Kai and Zheng, Zangwei and Gu, Jianyang and Peng, Xiangyu and
               Xu, Zhaopan and Zhou, Daquan and Shang, Lei and Sun, Baigui and Xie, Xuansong and
               You, Yang},
  title     = {{InfoBatch}: Lossless Training Speed Up by Unbiased Dynamic Data Pruning},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}
"""

ZHOU2025 = """
@inproceedings{zhou2025scale,
  author    = {Zhou, Qing and Gao, Junyu and Wang, Qi},
  title     = {Scale Efficient Training for Large Datasets},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}
"""

ZHOU2026 = """
@inproceedings{zhou2026batch,
  author    = {Zhou, Qing and Zhao, Bingxuan and Yang, Tao and Zhang, Hongyuan and Gao, Junyu and
               Wang, Qi},
  title     = {Batch Loss Score for Dynamic Data Pruning},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {6188--6197},
  year      = {2026}
}
"""

ZHANG = """
@inproceedings{zhang2025evos,
  author    = {Zhang, Weixiang and Xie, Shuzhao and Ren, Chengwei and Xie, Siyi and Tang, Chen and
               Ge, Shijia and Wang, Mingzi and Wang, Zhi},
  title     = {{EVOS}: Efficient Implicit Neural Training via {EVO}lutionary Selector},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}
"""

OKANOVIC = """
@inproceedings{okanovic2024repeated,
  author    = {Okanovic, Patrik and Waleffe, Roger and Mageirakos, Vasilis and Nikolakakis,
               Konstantinos and Karbasi, Amin and Kalogerias, Dionysios and G{\\"u}rel, Nezihe Merve
               and Rekatsinas, Theodoros},
  title     = {Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}
"""


register("early-importance", level="dataset", bibtex=QUERCIA)(EarlyImportance)
register("online-batch", level="dataset", bibtex=LOSHCHILOV)(OnlineBatchSelection)
register("recency-bias", level="dataset", bibtex=SONG)(RecencyBias)
register("active-bias", level="dataset", bibtex=CHANG)(ActiveBias)
register("bandit", level="dataset", bibtex=LIU)(Bandit)
register("rais", level="dataset", bibtex=JOHNSON)(RobustImportance)
register("infobatch", level="dataset", bibtex=QIN)(InfoBatch)
register("epoch-accuracy", level="dataset", bibtex=SMEDAS)(EpochAccuracyFilter)
register("batch-loss", level="dataset", bibtex=ZHOU2026 + QIN)(BatchLossPruning)
register("seta", level="dataset", bibtex=ZHOU2025)(SlidingWindow)
register("evos", level="dataset", bibtex=ZHANG)(CachedErrors)
register("eswp", level="dataset", bibtex=CHENG)(EvolvedPruning)
register("rs2", level="dataset", bibtex=OKANOVIC)(RandomSubsets)
register("random-pruning", level="dataset", bibtex="")(RandomPruning)
